"""``vb-node doctor``: what is wrong, or soon will be, with this machine, this configuration and those around it."""

import ctypes
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile

from cryptography import x509
from packaging.version import Version
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from sqlalchemy import text

from storage import stations
from storage.database import Database, has_wal_reset_fault
from vb_node.config import DestinationSettings, Settings
from vb_node.dicom.viewers import PROFILES
from vb_node.dimse import contexts, scu
from vb_node.errors import ConfigError, Later, NodeError
from vb_node.models.pins import MODEL, MODELS, PRETRAINED, read_pins, read_site_pin, site_folder, site_names
from vb_node.openid.provider import Provider
from vb_node.pipeline.application import installed
from vb_node.runtime import retain
from vb_node.runtime.destinations import open_destination, peer_of, timeouts_of
from vb_node.runtime.node import open_ledger
from vb_node.runtime.routing import Route, Router
from vb_node.tell.export import repository_of
from vb_node.tell.mail import Mail
from vb_node.tell.syslog import Repository
from vb_node.tell.webhook import Webhook

GOOD, DOUBTFUL, WRONG = "good", "doubtful", "wrong"
SLOW_SYNC_S, SILENT_S, CERTIFICATE_DAYS = 0.1, 10.0, 30
TIMEX_BYTES, CLOCK_UNSYNCHRONISED = 256, 5  # adjtimex(2): TIME_ERROR
WRITTEN = (
    SegmentationStorage,
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    ParametricMapStorage,
    EncapsulatedPDFStorage,
)
# Below these versions a package has a known fault that reaches this node (SECURITY 1.1 and 1.2).
FLOORS = {
    "pydicom": ("3.0.2", "CVE-2026-32711, path traversal by DICOMDIR"),
    "pynetdicom": ("3.0.4", "CVE-2026-56445, path traversal by SOP Instance UID"),
    "torch": ("2.10", "CVE-2026-24747, memory corruption by a weights file"),
    "transformers": ("5.3", "CVE-2026-4372, code run from a model's config.json"),
    "monai": ("1.5.2", "CVE-2026-21851 and GHSA-89gg-p5r5-q6r4"),
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is good, what was found, and what to do where it is not."""

    about: str
    state: str
    found: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Make every check, and give each finding as it is known; a check that fails itself is a finding too."""
    yield from _try(settings, _disk, _ledger, _stations, _clock)
    yield from examine_configuration(settings)
    yield from _try(settings, _device)
    yield from weights()
    yield from _try(settings, site_weights)
    yield from _packages()


def examine_configuration(settings: Settings) -> Iterator[Finding]:
    """Make the checks whose outcome another configuration changes."""
    yield from _try(settings, _routes, _certificates, _destinations, _provider, _listeners)


def _try(settings: Settings, *checks: Check) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(settings)
        except (NodeError, OSError) as error:
            yield Finding(check.__name__.strip("_"), WRONG, str(error))


def _disk(settings: Settings) -> Iterator[Finding]:
    disk = retain.disk_of(settings)
    state = WRONG if disk.used >= disk.stop_at or disk.free_bytes < disk.stop_free_bytes else GOOD
    state = DOUBTFUL if state == GOOD and disk.is_high() else state
    found = f"{disk.used:.0%} used, {disk.free_bytes / 2**30:.1f} GiB free under {settings.data}"
    yield Finding("disk", state, found, "" if state == GOOD else "free some space, or set [retention] days")
    began = time.monotonic()
    with TemporaryFile(dir=settings.data) as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    took_s = time.monotonic() - began
    remedy = "" if took_s < SLOW_SYNC_S else "every instance waits for one: use a faster or less busy disk"
    yield Finding("write and fsync", GOOD if not remedy else DOUBTFUL, f"{1000 * took_s:.1f} ms", remedy)


def _ledger(settings: Settings) -> Iterator[Finding]:
    with closing(open_ledger(settings)) as database:
        database.check()
        kind = database.url.get_backend_name()
        yield Finding("ledger", GOOD, f"{kind}, its schema is this version's")
        if kind == "postgresql":
            yield from _postgresql(database)
        elif has_wal_reset_fault():
            yield Finding("SQLite", GOOD, "older than 3.51.3: writers and checkpoints are kept apart by a lock")


def _postgresql(database: Database) -> Iterator[Finding]:
    with database.read() as session:
        found = {name: str(session.scalar(text(f"SHOW {name}"))) for name in DURABLE}
    for name, wanted in DURABLE.items():
        is_durable = found[name] == wanted
        remedy = "" if is_durable else f"set {name} = {wanted}: without it a power cut loses what was answered Success"
        yield Finding(f"PostgreSQL {name}", GOOD if is_durable else WRONG, found[name], remedy)


def _stations(settings: Settings) -> Iterator[Finding]:
    with closing(open_ledger(settings)) as database, database.read() as session:
        station = stations.get(session, "receive")
    if station is None or time.time() - station.beat_at > SILENT_S:
        yield Finding("node", DOUBTFUL, "the listener does not run", "start it: vb-node serve")
    else:
        yield Finding("node", GOOD, f"the listener has run for {(time.time() - station.started_at) / 3600:.1f} h")


def _clock(_settings: Settings) -> Iterator[Finding]:
    timex = ctypes.create_string_buffer(TIMEX_BYTES)  # all zero: only asks
    is_kept = ctypes.CDLL(None).adjtimex(timex) != CLOCK_UNSYNCHRONISED
    remedy = "" if is_kept else "run chrony or systemd-timesyncd: results and the audit trail are dated by this clock"
    found = "kept by a time service" if is_kept else "no time service keeps it"
    yield Finding("clock", GOOD if is_kept else DOUBTFUL, found, remedy)


def _routes(settings: Settings) -> Iterator[Finding]:
    routes = Router(settings, installed()).routes
    for route in routes:
        own = route.settings
        found = f"{own.application}, to {', '.join(own.destinations) or 'nowhere'}"
        remedy = "" if own.destinations or own.shadow else "name [[destinations]], or its results stay here"
        if own.shadow and any(_is_alike(route, other) for other in routes):
            found += ", as a live route does"
            remedy = "give it another application or [routes.virtual_biopsy]: the same is compared with the same"
        yield Finding(f"route {own.name}", GOOD if not remedy else DOUBTFUL, found, remedy)
    if not settings.receive.peers:
        yield Finding("peers", DOUBTFUL, "nobody may send", "name the PACS under [[receive.peers]]")


def _is_alike(shadow: Route, other: Route) -> bool:
    is_live = not other.settings.shadow
    return is_live and (shadow.application.name, shadow.plan) == (other.application.name, other.plan)


def _certificates(settings: Settings) -> Iterator[Finding]:
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


def _destinations(settings: Settings) -> Iterator[Finding]:
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


def _listeners(settings: Settings) -> Iterator[Finding]:
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


def _provider(settings: Settings) -> Iterator[Finding]:
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


def _device(settings: Settings) -> Iterator[Finding]:
    from vb_node.models import device  # late: torch takes seconds

    gpu = device.describe()
    if gpu is None and settings.work.device == "cuda":
        yield Finding("GPU", WRONG, "none that torch can use", 'set [work] device = "auto", or mend the driver')
    else:
        yield Finding("GPU", GOOD, gpu or f"none; the pipeline runs on {os.cpu_count()} cores")


def weights(folder: Path = PRETRAINED) -> list[Finding]:
    """Compare each weights file with its digest."""
    return [_weights_file(folder / name, pin.sha256) for name, pin in read_pins(folder).items()]


def site_weights(settings: Settings) -> Iterator[Finding]:
    """Compare the weights that a site imported with their digests; those that are configured must be among them."""
    named = settings.virtual_biopsy.diagnoser
    for name in sorted({*site_names(settings.data), *([named] if named else [])}):
        folder = site_folder(settings.data, name)
        try:
            sha256 = read_site_pin(folder).sha256
        except ConfigError as error:
            yield Finding(
                f"weights {name}", WRONG, str(error), "import them, or name others in [virtual_biopsy] diagnoser"
            )
            continue
        yield _weights_file(folder / MODELS / MODEL, sha256, f"weights {name}", "remove them and import them again")


def _weights_file(path: Path, sha256: str, about: str = "", again: str = "install the package again") -> Finding:
    about = about or f"weights {path.name}"
    if not path.is_file():
        return Finding(about, WRONG, "missing", again)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    is_same = digest == sha256
    return Finding(about, GOOD if is_same else WRONG, f"sha256 {digest}", "" if is_same else again)


def _packages() -> Iterator[Finding]:
    for name, (least, fault) in FLOORS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, WRONG, "not installed", f"pip install '{name}>={least}'")
            continue
        is_safe = Version(found) >= Version(least)
        yield Finding(name, GOOD if is_safe else WRONG, found, "" if is_safe else f"{fault}: install {least} or later")
