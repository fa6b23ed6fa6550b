"""Those around the node: certificates, destinations, who is told of events and alerts, the OpenID provider."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from cryptography import x509
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from vb_node.config import DestinationSettings, Settings
from vb_node.dicom.viewers import PROFILES
from vb_node.dimse import contexts, scu
from vb_node.doctor.finding import DOUBTFUL, GOOD, WRONG, Finding
from vb_node.errors import ConfigError, Later, NodeError
from vb_node.openid.provider import Provider
from vb_node.runtime.destinations import open_destination, peer_of, timeouts_of
from vb_node.tell.export import repository_of
from vb_node.tell.mail import Mail
from vb_node.tell.syslog import Repository
from vb_node.tell.webhook import Webhook

CERTIFICATE_DAYS = 30
WRITTEN = (
    SegmentationStorage,
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    ParametricMapStorage,
    EncapsulatedPDFStorage,
)


def certificates(settings: Settings) -> Iterator[Finding]:
    files = {one.name: one.tls.certificate for one in settings.destinations if one.tls and one.tls.certificate}
    if settings.receive.tls is not None:
        files["the listener"] = settings.receive.tls.certificate
    if settings.web is not None and settings.web.tls is not None:
        files["the web station"] = settings.web.tls.certificate
    for name, file in files.items():
        try:
            ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            found = f"{file} cannot be read as a PEM certificate"
            yield Finding(f"certificate of {name}", WRONG, found, "name another")
            continue
        days = (ends.timestamp() - time.time()) / 86400
        state = WRONG if days < 0 else DOUBTFUL if days < CERTIFICATE_DAYS else GOOD
        remedy = "" if state == GOOD else "renew it; the node reads it again by itself"
        yield Finding(f"certificate of {name}", state, f"valid until {ends:%Y-%m-%d}", remedy)


def destinations(settings: Settings) -> Iterator[Finding]:
    for one in settings.destinations:
        yield from destination(one, settings)


def destination(one: DestinationSettings, settings: Settings) -> Iterator[Finding]:
    """Ask one destination whether it is there, and what it takes."""
    about = f"destination {one.name}"
    try:
        if one.kind == "dimse":
            yield from _ask_ae(about, one, settings)
        else:
            open_destination(one, settings.node.ae_title).probe()
            yield Finding(about, GOOD, "answers")
    except NodeError as error:
        yield Finding(about, WRONG, str(error), "results wait until it answers")


def _ask_ae(about: str, one: DestinationSettings, settings: Settings) -> Iterator[Finding]:
    """Propose each SOP class that this destination would be sent, and C-ECHO."""
    peer, calling = peer_of(one), one.calling_ae_title or settings.node.ae_title
    sent = [uid for uid in WRITTEN if uid not in PROFILES[one.viewer_profile]]
    offers = [(uid, (ExplicitVRLittleEndian,)) for uid in (contexts.VERIFICATION, *sent)]
    with scu.association(peer, calling, offers, timeouts_of(one)) as opened:
        accepted = {str(context.abstract_syntax) for context in opened.accepted_contexts}
        is_echoed = contexts.VERIFICATION in accepted and scu.is_stored(scu.status_of(opened.send_c_echo(), peer))
    yield Finding(about, GOOD if is_echoed else DOUBTFUL, f"{peer} {'answers' if is_echoed else 'gives no'} C-ECHO")
    for uid in sent:
        is_taken = uid in accepted
        remedy = "" if is_taken else f"let {peer.ae_title} accept it, or choose another viewer_profile"
        found = "accepted" if is_taken else "not accepted"
        yield Finding(f"{about}, {UID(uid).name}", GOOD if is_taken else DOUBTFUL, found, remedy)


def listeners(settings: Settings) -> Iterator[Finding]:
    """Ask those who are told of events and alerts whether they would listen; nothing is told."""
    for about, remedy, open_way in _ways_out(settings):
        try:
            open_way().probe()
        except NodeError as error:
            yield Finding(about, WRONG, str(error), remedy)
        else:
            yield Finding(about, GOOD, "answers, and each knows the other")


def _ways_out(settings: Settings) -> Iterator[tuple[str, str, Callable[[], Repository | Mail | Webhook]]]:
    node, alerts = settings.node.ae_title, settings.alerts
    if settings.audit is not None:
        yield (
            "audit repository",
            "its messages wait in the ledger until it answers",
            partial(repository_of, settings.audit),
        )
    if alerts is not None and alerts.mail is not None:
        yield "mail server", "alerts wait until it takes them: [alerts.mail]", partial(Mail, alerts.mail, node)
    if alerts is not None and alerts.webhook is not None:
        yield "webhook", "alerts wait until it takes them: [alerts.webhook]", partial(Webhook, alerts.webhook, node)


def provider(settings: Settings) -> Iterator[Finding]:
    """Ask the OpenID provider for its discovery document and its keys."""
    if settings.web is None or settings.web.oidc is None:
        return
    about = "OpenID provider"
    try:
        Provider(settings.web.oidc).probe()
        yield Finding(about, GOOD, f"{settings.web.oidc.issuer} answers as expected")
    except Later as error:
        yield Finding(about, DOUBTFUL, str(error), "only users of this node itself can sign in until it answers")
    except ConfigError as error:
        yield Finding(about, WRONG, str(error), "mend [web.oidc], or the provider")
