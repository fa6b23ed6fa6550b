"""One audit message as XML (PS3.15 A.5.1): what the schema asks for, whatever the values are."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring  # it only writes: nothing is parsed here

from pydicom.sr.coding import Code

# What PS3.15 A.5 takes from annex D of PS3.16: CID 400 events, 401 types, 402 roles, 404 objects, 405 media
APPLICATION_ACTIVITY: Final = Code("110100", "DCM", "Application Activity")
AUDIT_LOG_USED: Final = Code("110101", "DCM", "Audit Log Used")
BEGIN_TRANSFERRING: Final = Code("110102", "DCM", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED: Final = Code("110103", "DCM", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = Code("110104", "DCM", "DICOM Instances Transferred")
STUDY_DELETED: Final = Code("110105", "DCM", "DICOM Study Deleted")
EXPORT: Final = Code("110106", "DCM", "Export")
SECURITY_ALERT: Final = Code("110113", "DCM", "Security Alert")
USER_AUTHENTICATION: Final = Code("110114", "DCM", "User Authentication")

APPLICATION_START: Final = Code("110120", "DCM", "Application Start")
APPLICATION_STOP: Final = Code("110121", "DCM", "Application Stop")
LOGIN: Final = Code("110122", "DCM", "Login")
LOGOUT: Final = Code("110123", "DCM", "Logout")
NODE_AUTHENTICATION: Final = Code("110126", "DCM", "Node Authentication")
SECURITY_CONFIGURATION: Final = Code("110129", "DCM", "Security Configuration")
RESTRICTED_FUNCTION: Final = Code("110132", "DCM", "Use of Restricted Function")
USER_ATTRIBUTES_CHANGED: Final = Code("110137", "DCM", "User Security Attributes Changed")

APPLICATION: Final = Code("110150", "DCM", "Application")
DESTINATION: Final = Code("110152", "DCM", "Destination Role ID")
SOURCE: Final = Code("110153", "DCM", "Source Role ID")
DESTINATION_MEDIA: Final = Code("110154", "DCM", "Destination Media")

STUDY: Final = Code("110180", "DCM", "Study Instance UID")
NODE_ID: Final = Code("110182", "DCM", "Node ID")
MEDIA_URI: Final = Code("110037", "DCM", "URI")
# A.5.1.2.4, values of the schema itself
PATIENT_NUMBER: Final = Code("2", "RFC-3881", "Patient Number")
URI: Final = Code("12", "RFC-3881", "URI")
LINE_DIGEST: Final = Code("line-digest", "99VBNODE", "SHA-256 of a line of the audit trail")

PERSON, SYSTEM_OBJECT = "1", "2"
PATIENT, REPORT, MASTER_FILE, SECURITY_RESOURCE = "1", "3", "5", "13"
APPLICATION_SERVER = "4"
UNKNOWN = "unknown"
LONGEST, LONGEST_DETAIL = 128, 4096
"""Characters of an attribute and octets of a detail: a receiver may cut a message after 32,768 octets (A.6)."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


@dataclass(frozen=True)
class Participant:
    """Who took part: a process, a node, a person or a medium; ``network`` is an address, a host name or a URL."""

    user_id: str
    is_requestor: bool = False
    role: Code | None = None
    ae_title: str | None = None
    name: str | None = None
    network: str | None = None
    media: Code | None = None


@dataclass(frozen=True)
class Thing:
    """What took part: a patient, a study, a log; ``instances`` are SOP Instance UIDs by SOP class, "" where unknown."""

    identifier: str
    id_type: Code
    name: str
    type_code: str
    role: str
    details: Mapping[str, str] = field(default_factory=dict)
    accession_number: str = ""
    instances: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditMessage:
    """One event; ``outcome`` is one of 0, 4, 8 and 12, ``why`` says what went wrong."""

    event_id: Code
    action: str
    at: float
    outcome: int
    source: str
    participants: Sequence[Participant]
    things: Sequence[Thing] = ()
    event_type: Code | None = None
    why: str | None = None
    site: str | None = None


def encode(message: AuditMessage) -> bytes:
    """Write a message as XML in UTF-8; a character that XML cannot hold becomes U+FFFD."""
    root = Element("AuditMessage")
    _add_event(root, message)
    for one in message.participants:
        _add_participant(root, one)
    source = _add(root, "AuditSourceIdentification", AuditEnterpriseSiteID=message.site, AuditSourceID=message.source)
    _add(source, "AuditSourceTypeCode", **{"csd-code": APPLICATION_SERVER})
    for thing in message.things:
        _add_thing(root, thing)
    written: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + written


def _add_event(root: Element, message: AuditMessage) -> None:
    moment = datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds")
    words = {"EventActionCode": message.action, "EventDateTime": moment}
    event = _add(root, "EventIdentification", **words, EventOutcomeIndicator=str(message.outcome))
    _add_code(event, "EventID", message.event_id)
    if message.event_type is not None:
        _add_code(event, "EventTypeCode", message.event_type)
    if message.why:
        SubElement(event, "EventOutcomeDescription").text = clean(message.why, 500)


def _add_participant(root: Element, one: Participant) -> None:
    made = _add(
        root,
        "ActiveParticipant",
        UserID=one.user_id or UNKNOWN,
        AlternativeUserID=one.ae_title and f"AETITLES={one.ae_title}",
        UserName=one.name,
        UserIsRequestor="true" if one.is_requestor else "false",
        NetworkAccessPointID=one.network,
        NetworkAccessPointTypeCode=one.network and _network_type(one.network),
    )
    if one.role is not None:
        _add_code(made, "RoleIDCode", one.role)
    if one.media is not None:
        _add_code(SubElement(made, "MediaIdentifier"), "MediaType", one.media)


def _add_thing(root: Element, thing: Thing) -> None:
    made = _add(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=thing.identifier or UNKNOWN,
        ParticipantObjectTypeCode=thing.type_code,
        ParticipantObjectTypeCodeRole=thing.role,
    )
    _add_code(made, "ParticipantObjectIDTypeCode", thing.id_type)
    SubElement(made, "ParticipantObjectName").text = clean(thing.name or UNKNOWN)
    for name, value in thing.details.items():
        octets = value.encode("utf-8", "replace")[:LONGEST_DETAIL]
        _add(made, "ParticipantObjectDetail", type=name, value=b64encode(octets).decode())
    if thing.instances:  # A.5.2: an accession number asks for SOP classes beside it
        _add_instances(SubElement(made, "ParticipantObjectDescription"), thing)


def _add_instances(description: Element, thing: Thing) -> None:
    if thing.accession_number:
        _add(description, "Accession", Number=thing.accession_number)
    for sop_class_uid, instances in thing.instances.items():
        of_class = _add(description, "SOPClass", UID=sop_class_uid, NumberOfInstances=str(len(instances)))
        for uid in instances:
            _add(of_class, "Instance", UID=uid)


def _add_code(parent: Element, tag: str, code: Code) -> None:
    words = {"csd-code": code.value, "codeSystemName": code.scheme_designator, "originalText": code.meaning}
    _add(parent, tag, **words)


def _add(parent: Element, tag: str, **words: str | None) -> Element:
    return SubElement(parent, tag, {name: clean(value) for name, value in words.items() if value})


def clean(text: str, longest: int = LONGEST) -> str:
    """Give a text that XML can hold, cut to a length."""
    return _NO_XML.sub("\ufffd", text[:longest])


def _network_type(network: str) -> str:
    """Say what a network access point is: 1 a host name, 2 an address, 5 a URI."""
    if "://" in network:
        return "5"
    try:
        ip_address(network)
    except ValueError:
        return "1"
    return "2"
