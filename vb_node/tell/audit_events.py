"""Which event of the audit trail becomes which audit message (PS3.15 A.5.3), and which becomes none, and why."""

import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Final

from pydicom.sr.coding import Code

from storage.schema import Event
from vb_node.tell import audit_message as a5
from vb_node.tell.audit_message import AuditMessage, Participant, Thing

LONGEST_RUN = 200
"""Instances that one message tells of: their UIDs fit into the 32,768 octets that every receiver must take."""
OUTCOMES = {"success": 0, "refused": 4, "failure": 8}

Told = tuple[list[Participant], list[Thing]]


@dataclass(frozen=True)
class Place:
    """Where a destination of the configuration is."""

    ae_title: str | None
    network: str | None


@dataclass(frozen=True)
class Around:
    """What the lines do not say: who we are, where destinations are, from which host an instance came."""

    source: str
    ae_title: str
    site: str | None = None
    host: str = field(default_factory=socket.gethostname)
    places: Mapping[str, Place] = field(default_factory=dict)
    hosts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def process(self, line: Event, role: Code | None = None, *, is_requestor: bool = False) -> Participant:
        return Participant(line.actor, is_requestor, role, self.ae_title, line.actor, self.host)

    def person(self, line: Event, role: Code | None = None) -> Participant:
        """Give the user, in the form of A.5.2.1."""
        user = f"{line.user}@{self.source}" if line.user else a5.UNKNOWN
        return Participant(user, True, role, name=line.user, network=line.details.get("host") or self.host)

    def actor(self, line: Event) -> Participant:
        return self.person(line) if line.user else self.process(line, is_requestor=True)


@dataclass(frozen=True)
class Kind:
    """What an event becomes; with ``is_run`` neighbouring lines of one study become one message.

    ``outcome`` stands where the trail's own word would be too strong, ``by_hand`` where only what a person did counts.
    """

    event_id: Code
    action: str
    tell: Callable[[Sequence[Event], Around], Told]
    event_type: Code | None = None
    is_run: bool = False
    outcome: int | None = None
    by_hand: bool = False


def _activity(lines: Sequence[Event], around: Around) -> Told:
    return [around.process(lines[0], a5.APPLICATION)], []


def _incoming(lines: Sequence[Event], around: Around) -> Told:
    line = lines[0]
    peer, host = around.hosts.get(line.sop_instance_uid or "", (None, None))
    host = line.details.get("host") or (host if peer == line.peer else None)
    sender = Participant(line.peer or a5.UNKNOWN, True, a5.SOURCE, line.peer, network=host)
    return [sender, around.process(line, a5.DESTINATION)], _objects(lines)


def _outgoing(lines: Sequence[Event], around: Around) -> Told:
    line = lines[0]
    place = around.places.get(line.peer or "", Place(None, None))
    taker = Participant(line.peer or a5.UNKNOWN, False, a5.DESTINATION, place.ae_title, network=place.network)
    return [around.process(line, a5.SOURCE, is_requestor=True), taker], _objects(lines)


def _access(lines: Sequence[Event], around: Around) -> Told:
    return [around.actor(lines[0])], _objects(lines)


def _inference(lines: Sequence[Event], around: Around) -> Told:
    line = lines[0]
    application = f"{line.details.get('application', a5.UNKNOWN)} {line.details.get('version', '')}".strip()
    model = Participant(application, role=a5.APPLICATION, name=application)
    return [around.process(line, is_requestor=True), model], _objects(lines)


def _export(lines: Sequence[Event], around: Around) -> Told:
    """Tell of the file by its digest (RFC 6920)."""
    digest = bytes.fromhex(lines[0].details.get("sha256", ""))
    name = "ni:///sha-256;" + urlsafe_b64encode(digest).decode().rstrip("=")
    medium = Participant(name, role=a5.DESTINATION_MEDIA, media=a5.MEDIA_URI)
    return [around.person(lines[0], a5.SOURCE), medium], _objects(lines) if lines[0].study_instance_uid else []


def _log_used(lines: Sequence[Event], around: Around) -> Told:
    asked = {"query": json.dumps(lines[0].details)}
    log = Thing("vb-node:audit", a5.URI, "Security Audit Log", a5.SYSTEM_OBJECT, a5.SECURITY_RESOURCE, asked)
    return [around.person(lines[0])], [log]


def _alert(lines: Sequence[Event], around: Around) -> Told:
    """Tell what it is about: the peer that was rejected, a job, or the node itself."""
    line = lines[0]
    performing = [around.person(line)] if line.user else []
    subject, id_type, role = "vb-node:node", a5.URI, a5.SECURITY_RESOURCE
    if line.peer is not None and line.job_id is None:
        performing = [Participant(line.peer, True, ae_title=line.peer, network=line.details.get("host"))]
        subject, id_type, role = line.peer, a5.NODE_ID, a5.MASTER_FILE
    elif line.job_id is not None:
        subject = f"vb-node:job/{line.job_id}"
    described = {"Alert Description": json.dumps({"event": line.event} | line.details)}
    thing = Thing(subject, id_type, line.event, a5.SYSTEM_OBJECT, role, described)
    return [around.process(line, is_requestor=not performing), *performing], [thing]


def _authentication(lines: Sequence[Event], around: Around) -> Told:
    return [around.person(lines[0]), around.process(lines[0])], []


MESSAGES: Final = {
    "node started": Kind(a5.APPLICATION_ACTIVITY, "E", _activity, a5.APPLICATION_START),
    "node stopped": Kind(a5.APPLICATION_ACTIVITY, "E", _activity, a5.APPLICATION_STOP),
    "association rejected": Kind(a5.SECURITY_ALERT, "E", _alert, a5.NODE_AUTHENTICATION),
    "instance received": Kind(a5.INSTANCES_TRANSFERRED, "C", _incoming, is_run=True),
    "instance refused": Kind(a5.INSTANCES_TRANSFERRED, "C", _incoming),
    "instance set aside": Kind(a5.INSTANCES_TRANSFERRED, "C", _incoming),
    "job claimed": Kind(a5.INSTANCES_ACCESSED, "R", _inference),
    "result created": Kind(a5.INSTANCES_ACCESSED, "C", _access, is_run=True),
    "delivery begun": Kind(a5.BEGIN_TRANSFERRING, "E", _outgoing),
    "delivery sent": Kind(a5.INSTANCES_TRANSFERRED, "R", _outgoing),
    "delivery retry": Kind(a5.INSTANCES_TRANSFERRED, "R", _outgoing, outcome=4),
    "delivery parked": Kind(a5.INSTANCES_TRANSFERRED, "R", _outgoing),
    "instance deleted": Kind(a5.STUDY_DELETED, "D", _access, is_run=True),
    "result deleted": Kind(a5.STUDY_DELETED, "D", _access, is_run=True),
    "job viewed": Kind(a5.INSTANCES_ACCESSED, "R", _access),
    "evidence exported": Kind(a5.EXPORT, "R", _export),
    "backup made": Kind(a5.EXPORT, "R", _export),
    "audit log used": Kind(a5.AUDIT_LOG_USED, "R", _log_used),
    "audit trail read": Kind(a5.AUDIT_LOG_USED, "R", _log_used),
    "login": Kind(a5.USER_AUTHENTICATION, "E", _authentication, a5.LOGIN),
    "login failed": Kind(a5.USER_AUTHENTICATION, "E", _authentication, a5.LOGIN),
    "logout": Kind(a5.USER_AUTHENTICATION, "E", _authentication, a5.LOGOUT),
    "user added": Kind(a5.SECURITY_ALERT, "E", _alert, a5.USER_ATTRIBUTES_CHANGED),
    "user changed": Kind(a5.SECURITY_ALERT, "E", _alert, a5.USER_ATTRIBUTES_CHANGED),
    "user removed": Kind(a5.SECURITY_ALERT, "E", _alert, a5.USER_ATTRIBUTES_CHANGED),
    "access refused": Kind(a5.SECURITY_ALERT, "E", _alert, a5.RESTRICTED_FUNCTION),
    "configuration change asked": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "configuration applied": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "configuration refused": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "configuration taken back": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "weights imported": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "weights removed": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "computation not confined": Kind(a5.SECURITY_ALERT, "E", _alert, a5.SECURITY_CONFIGURATION),
    "job scheduled": Kind(a5.SECURITY_ALERT, "E", _alert, a5.RESTRICTED_FUNCTION, by_hand=True),
    "job canceled": Kind(a5.SECURITY_ALERT, "E", _alert, a5.RESTRICTED_FUNCTION, by_hand=True),
    "deliveries resumed": Kind(a5.SECURITY_ALERT, "E", _alert, a5.RESTRICTED_FUNCTION, by_hand=True),
    "delivery resumed": Kind(a5.SECURITY_ALERT, "E", _alert, a5.RESTRICTED_FUNCTION, by_hand=True),
}

_STEP = "a step within the node: nothing is accessed, sent or let in that another message does not tell of"
_ECHO = "about a transfer that another message tells of"
_DUTY = "operation, not security: alerts tell those on duty"
LEFT_OUT: Final = {
    "series closed": _STEP,
    "series selected": _STEP,
    "series not selected": _STEP,
    "job completed": _STEP,
    "job failed": _STEP,
    "shadow compared": _STEP,
    "delivery superseded": _STEP,
    "delivery committed": _ECHO,
    "commitment requested": _ECHO,
    "commitment not requested": _ECHO,
    "commitment failed": _ECHO,
    "files uploaded": _ECHO,
    "rules tried": _STEP,
    "destination probed": _DUTY,
    "destination down": _DUTY,
    "destination up": _DUTY,
    "disk full": _DUTY,
    "alert raised": _DUTY,
    "alert cleared": _DUTY,
}


def messages(lines: Sequence[Event], around: Around) -> Iterator[AuditMessage]:
    """Make the messages of some lines, in their order; each names its lines by number and the last one's digest."""
    for _, neighbours in groupby(lines, _alike):
        while run := list(islice(neighbours, LONGEST_RUN)):
            kind = MESSAGES.get(run[0].event)
            if kind is not None and (run[0].user or not kind.by_hand):
                yield _message(kind, run, around)


def _alike(line: Event) -> tuple[object, ...]:
    """Give what lines of one message share; a line that stands alone shares its number with none."""
    kind = MESSAGES.get(line.event)
    alone = None if kind is not None and kind.is_run else line.seq
    who = line.event, line.outcome, line.actor, line.user, line.peer
    return (*who, line.patient_id, line.accession_number, line.study_instance_uid, line.job_id, alone)


def _message(kind: Kind, lines: Sequence[Event], around: Around) -> AuditMessage:
    participants, things = kind.tell(lines, around)
    last = lines[-1]
    outcome = OUTCOMES[last.outcome] if kind.outcome is None else kind.outcome
    why = last.details.get("why") or last.details.get("detail")
    return AuditMessage(
        kind.event_id,
        kind.action,
        last.at,
        outcome,
        around.source,
        participants,
        [*things, _proof(lines)],
        kind.event_type,
        why if outcome else None,
        around.site,
    )


def _objects(lines: Sequence[Event]) -> list[Thing]:
    """Give the study with the instances, and the patient: one, as each message may name."""
    line = lines[0]
    study, patient = line.study_instance_uid or a5.UNKNOWN, line.patient_id or a5.UNKNOWN
    instances: dict[str, list[str]] = {}
    for one in lines:
        if one.sop_instance_uid:
            instances.setdefault(one.details.get("sop_class_uid", ""), []).append(one.sop_instance_uid[:64])
    accession = line.accession_number or ""
    return [
        Thing(study, a5.STUDY, accession or study, a5.SYSTEM_OBJECT, a5.REPORT, {}, accession, instances),
        Thing(patient, a5.PATIENT_NUMBER, patient, a5.PERSON, a5.PATIENT),
    ]


def _proof(lines: Sequence[Event]) -> Thing:
    """Name the lines, so that who keeps the messages can tell a trail that was written anew as a whole."""
    first, last = lines[0].seq, lines[-1].seq
    name = f"line {last}" if first == last else f"lines {first}-{last}"
    return Thing(lines[-1].digest, a5.LINE_DIGEST, name, a5.SYSTEM_OBJECT, a5.SECURITY_RESOURCE)
