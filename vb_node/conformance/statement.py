"""The statement: one template of prose, and the tables that fill it.

Its order is that of the template in PS3.2 annex N, which begins to count at 1 for its N.1.
"""

import re
from importlib.resources import files
from string import Template

from pydicom.datadict import dictionary_description

from storage import commitments, deliveries, outages
from vb_node import __version__
from vb_node.config import AuditSettings, DestinationSettings, Settings, WebSettings
from vb_node.conformance import attributes, audit, content, example, network, origin, settings, web
from vb_node.conformance.markdown import code
from vb_node.dicom import codes, source
from vb_node.dicom.provenance import MANUFACTURER, MODEL_NAME
from vb_node.dicom.sr import SOP_CLASSES
from vb_node.dicomweb import service
from vb_node.dimse import commitment, implementation, scu, status
from vb_node.dimse.guard import Limits
from vb_node.pipeline.select import IMAGE_CLASSES
from vb_node.tell import audit_message, syslog

DEFAULTS = "the defaults; `--config node.toml` gives the AE titles and addresses of a node"
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def statement(configured: Settings, *, is_default: bool) -> str:
    """Write the Conformance Statement of this version, with the AE titles and addresses of a configuration."""
    template = files("vb_node.conformance").joinpath("statement.md").read_text("utf-8")
    return Template(template).substitute(
        _names(template, DEFAULTS if is_default else f"the configuration of {configured.node.ae_title}")
        | _objects()
        | _configuration(configured)
        | _associations()
        | _audit()
    )


def _names(template: str, configuration: str) -> dict[str, str]:
    return {
        "product": MODEL_NAME,
        "manufacturer": MANUFACTURER,
        "version": __version__,
        "configuration": configuration,
        "contents": _contents(template),
    }


def _objects() -> dict[str, str]:
    objects = origin.of_every_object()
    scheme = codes.private_scheme()
    return {
        "created": attributes.created(objects),
        "sent": attributes.sent(objects),
        "modules": attributes.modules(objects),
        "written": attributes.written(objects),
        "copied": attributes.copied(objects),
        "proposed": network.proposed_contexts(objects.values()),
        "outline": content.outline(example.reports()),
        "codes": content.every_code(),
        "private": f"{scheme.CodingSchemeDesignator}, {scheme.CodingSchemeName}, version {scheme.CodingSchemeVersion}",
        "type_2": ", ".join(dictionary_description(keyword) for keyword in source.TYPE_2),
        "used": ", ".join(f"{uid.name} {code(uid)}" for uid in IMAGE_CLASSES),
        "report": SOP_CLASSES[0].name,
    }


def _configuration(configured: Settings) -> dict[str, str]:
    return {
        "keys": settings.every_key(),
        "local": settings.local(configured),
        "remote": settings.remote(configured),
        "port": str(configured.receive.port),
        "web_port": str((configured.web or WebSettings()).port),
        "max_pdu": str(configured.receive.max_pdu),
        "max_associations": str(configured.receive.max_associations),
        "destination_s": f"{DestinationSettings.model_fields['timeout_s'].default:g}",
    }


def _associations() -> dict[str, str]:
    limits = Limits()
    return {
        "class_uid": implementation.CLASS_UID,
        "version_name": implementation.VERSION_NAME,
        "max_pdu_scu": str(implementation.entity(MODEL_NAME).maximum_pdu_size),
        "idle_s": f"{limits.idle_s:g}",
        "stall_s": f"{limits.stall_s:g}",
        "handshake_s": f"{limits.handshake_s:g}",
        "least_rate": f"{limits.least_rate:g}",
        "window_s": f"{limits.rate_window_s:g}",
        "connect_s": f"{scu.Timeouts().connect_s:g}",
        "second_try": f"{deliveries.SECOND_TRY_S:g}",
        "probe": f"{outages.PROBE_S:g}",
        "dicom_json": service.JSON,
        "most_mb": str(service.MOST_BYTES >> 20),
        "linger": f"{commitment.LINGER_S:g}",
        "report_h": f"{commitments.REPORT_WAIT_S / 3600:g}",
        "requests": str(commitments.MOST_REQUESTS),
        "unknown": f"{status.PROCESSING_FAILURE:04X}",
        "no_action": f"{commitment.NO_SUCH_ACTION:04X}",
        "slowest": str(scu.SLOWEST_BYTES_S),
        "longest_wait": f"{deliveries.LONGEST_WAIT_S:g}",
        "duplicate": f"{status.DUPLICATE:04X}",
        "rejections": network.rejections(),
        "accepted": network.accepted_contexts(),
        "classes": network.accepted_classes(),
        "answers": network.answers(),
        "meanings": network.meanings(),
        "http_answers": web.answers(),
        "http_reasons": web.reasons(),
    }


def _audit() -> dict[str, str]:
    proof = audit_message.LINE_DIGEST
    return {
        "audit_port": str(AuditSettings.model_fields["port"].default),
        "message_id": syslog.MESSAGE_ID,
        "facility": str(syslog.FACILITY),
        "notice": str(syslog.NOTICE),
        "warning": str(syslog.WARNING),
        "audit_messages": audit.messages(),
        "audit_left_out": audit.left_out(),
        "audit_type": audit_message.APPLICATION_SERVER,
        "proof": f"{proof.value}, {proof.scheme_designator}",
        "proof_meaning": proof.meaning,
    }


def _contents(template: str) -> str:
    return "\n".join(f"- [{title}](#{_anchor(title)})" for title in HEADING.findall(template))


def _anchor(title: str) -> str:
    """Give the anchor that readers of Markdown make of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
