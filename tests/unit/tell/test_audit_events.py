"""From events to audit messages: every event has its place in a table, each message one patient and a bounded size."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from storage.schema import DELIVERY_STATES, JOB_STATES, Event
from vb_node.tell.audit_events import LEFT_OUT, LONGEST_RUN, MESSAGES, Around, Place, messages
from vb_node.tell.audit_message import encode
from vb_node.tell.syslog import frame

ROOT = Path(__file__).parents[3]
LEAST_A_RECEIVER_TAKES = 32_768  # PS3.15 A.6
WRITERS = {"record", "line", "tell", "_tell", "_tell_no"}
AROUND = Around("NODE", "VBNODE", host="node", places={"pacs": Place("PACS", "10.0.0.9")})


def event(name: str, seq: int = 1, **keys: Any) -> Event:
    words = dict.fromkeys(("peer", "job_id", "user", "sop_instance_uid"))
    words |= {"at": 1000.0 + seq, "outcome": "success", "actor": "receive", "details": {}, "digest": f"{seq:064x}"}
    words |= {"patient_id": "P1", "accession_number": "A1", "study_instance_uid": "1.2"}
    return Event(seq=seq, event=name, **words | keys)


def told(*lines: Event, around: Around = AROUND) -> list[Element]:
    return [fromstring(encode(message).decode()) for message in messages(lines, around)]


def _patterns(node: ast.AST) -> Iterator[str]:
    """Give the texts that an expression may be; a part of an f-string that varies is a star."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from _patterns(node.body)
        yield from _patterns(node.orelse)


def _assigned(function: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = (
                zip(target.elts, node.value.elts, strict=False)
                if _is_pair(target, node.value)
                else [(target, node.value)]
            )
            for left, right in pairs:
                if isinstance(left, ast.Name) and left.id == name:
                    yield from _patterns(right)


def _is_pair(target: ast.AST, value: ast.AST) -> bool:
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)


def written() -> set[str]:
    """Find the names of all events that the code writes: the words handed to what writes the trail."""
    found: set[str] = set()
    for path in [*(ROOT / "storage").rglob("*.py"), *(ROOT / "vb_node").rglob("*.py")]:
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _name(call.func) in WRITERS:
                    found |= next(filter(None, (_names(argument, function) for argument in call.args)), set())
    return {one for one in found if " " in one or one in {"login", "logout"}}


def _names(argument: ast.expr, function: ast.AST) -> set[str]:
    if isinstance(argument, ast.Name) and argument.id == "event":
        return set(_assigned(function, "event"))
    return set(_patterns(argument))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _expanded(names: set[str]) -> set[str]:
    """Put the states for the stars."""
    made = names - {"delivery *", "job *"}
    if "delivery *" in names:
        made |= {f"delivery {state}" for state in DELIVERY_STATES} - {"delivery pending", "delivery sending"}
    if "job *" in names:
        made |= {f"job {state.lower()}" for state in JOB_STATES} - {"job in progress"}
    return made


def test_every_event_of_the_code_has_a_message_or_is_left_out_for_a_reason() -> None:
    found = _expanded(written())

    assert {"instance received", "delivery parked", "job failed", "access refused", "node stopped"} <= found
    assert found - {*MESSAGES, *LEFT_OUT} == set()
    assert {*MESSAGES, *LEFT_OUT} - found == set()
    assert not set(MESSAGES) & set(LEFT_OUT)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_kind_of_message_is_made_and_names_one_patient_at_most(name: str) -> None:
    keys = {"user": "anna", "peer": "pacs", "sop_instance_uid": "1.2.3", "job_id": 7}

    made = told(event(name, details={"sha256": "ab" * 32}, **keys))[0]

    people = [one for one in made.iter("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
    patients = [
        one for one in made.iter("ParticipantObjectIdentification") if one.get("ParticipantObjectTypeCode") == "1"
    ]
    assert len(people) <= 1
    assert len(patients) <= 1
    assert len(made.findall("AuditSourceIdentification")) == 1


def test_the_instances_of_a_study_that_came_together_are_one_message() -> None:
    keys = {"peer": "MR1", "details": {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}}
    lines = [event("instance received", seq, sop_instance_uid=f"1.2.{seq}", **keys) for seq in range(1, 4)]
    other = event("instance received", 4, sop_instance_uid="1.9", **keys | {"patient_id": "P2"})
    around = Around("NODE", "VBNODE", hosts={"1.2.1": ("MR1", "10.0.0.5")})

    first, second = told(*lines, other, around=around)

    assert [one.get("UID") for one in first.iter("Instance")] == ["1.2.1", "1.2.2", "1.2.3"]
    assert [one.get("Number") for one in first.iter("Accession")] == ["A1"]
    sender, taker = first.findall("ActiveParticipant")
    assert sender.get("AlternativeUserID") == "AETITLES=MR1"
    assert sender.get("NetworkAccessPointID") == "10.0.0.5"
    assert taker.get("UserIsRequestor") == "false"
    assert [one.get("UID") for one in second.iter("Instance")] == ["1.9"]


def test_a_host_is_not_told_of_another_peer() -> None:
    line = event("instance received", sop_instance_uid="1.2.1", peer="MR1")

    made = told(line, around=Around("NODE", "VBNODE", hosts={"1.2.1": ("ROUTER", "10.0.0.5")}))[0]

    assert made.findall("ActiveParticipant")[0].get("NetworkAccessPointID") is None


def test_each_message_names_its_lines_and_the_digest_of_the_last() -> None:
    lines = [event("instance received", seq, sop_instance_uid=f"1.{seq}") for seq in (8, 9)]

    proof = told(*lines)[0].findall("ParticipantObjectIdentification")[-1]

    assert proof.get("ParticipantObjectID") == f"{9:064x}"
    assert proof.findtext("ParticipantObjectName") == "lines 8-9"


def test_the_largest_message_fits_into_every_receiver() -> None:
    text = "&山" * 5000
    keys = {"peer": text, "patient_id": text, "accession_number": text, "study_instance_uid": text}
    keys |= {"actor": text, "outcome": "failure", "details": {"why": text, "host": text, "sop_class_uid": "1." * 32}}
    lines = [
        event("instance received", seq, sop_instance_uid=f"1.{seq}." + "2" * 60, **keys)
        for seq in range(LONGEST_RUN + 1)
    ]
    around = Around("N" * 64, "VBNODE", "S" * 64, "h" * 255)

    sizes = [len(frame(message, around.host)) for message in messages(lines, around)]

    assert len(sizes) == 2
    assert max(sizes) <= LEAST_A_RECEIVER_TAKES


@pytest.mark.parametrize(("outcome", "indicator"), [("success", "0"), ("refused", "4"), ("failure", "8")])
def test_an_outcome_is_told_with_its_reason(outcome: str, indicator: str) -> None:
    line = event(
        "association rejected", outcome=outcome, peer="STRANGER", details={"why": "not known", "host": "10.1.1.1"}
    )

    made = told(line)[0].find("EventIdentification")

    assert made is not None
    assert made.get("EventOutcomeIndicator") == indicator
    assert made.findtext("EventOutcomeDescription") == (None if outcome == "success" else "not known")


def test_what_the_node_cancels_itself_is_a_step_and_what_a_person_cancels_is_told() -> None:
    by_itself = event("job canceled", 1, job_id=7)
    by_hand = event("job canceled", 2, job_id=7, user="olga")

    made = told(by_itself, by_hand)

    assert len(made) == 1
    assert "olga@NODE" in {one.get("UserID") for one in made[0].iter("ActiveParticipant")}


def test_a_computation_names_the_model_and_a_delivery_the_place_of_its_destination() -> None:
    claimed = event("job claimed", 1, details={"application": "virtual_biopsy", "version": "2"})
    begun = event("delivery begun", 2, peer="pacs", sop_instance_uid="1.2.3")

    inference, transfer = told(claimed, begun)

    assert [one.get("UserID") for one in inference.iter("ActiveParticipant")] == ["receive", "virtual_biopsy 2"]
    taker = transfer.findall("ActiveParticipant")[1]
    assert taker.get("AlternativeUserID") == "AETITLES=PACS"
    assert taker.get("NetworkAccessPointID") == "10.0.0.9"
