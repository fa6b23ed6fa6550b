"""Audit messages as XML: the order of the schema, the codes of the Standard, and hostile values."""

from base64 import b64decode
from dataclasses import replace
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from vb_node.tell import audit_message
from vb_node.tell.audit_message import AuditMessage, Participant, Thing, encode

HOSTILE = ['"><EventID/>', "]]>&amp;<!--", "\x00\x01\x1b", "\ud800 alone", "\ufffe", "Größe 山田", "\r\n<85>1 - - -"]
# The children of each element in the order of the schema (A.5.1.1)
ORDER = {
    "AuditMessage": [
        "EventIdentification",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ],
    "EventIdentification": ["EventID", "EventTypeCode", "EventOutcomeDescription"],
    "ActiveParticipant": ["RoleIDCode", "MediaIdentifier"],
    "ParticipantObjectIdentification": [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
        "ParticipantObjectDetail",
        "ParticipantObjectDescription",
    ],
    "ParticipantObjectDescription": ["Accession", "SOPClass"],
    "SOPClass": ["Instance"],
}


def _message(text: str = "x") -> AuditMessage:
    thing = Thing(text, audit_message.STUDY, text, "2", "3", {"note": text}, text, {text: [text, text], "": [text]})
    people = [
        Participant(text, True, audit_message.SOURCE, text, text, text),
        Participant(text, media=audit_message.MEDIA_URI),
    ]
    sent = audit_message.INSTANCES_TRANSFERRED
    return AuditMessage(sent, "C", 1.5, 4, text, people, [thing], audit_message.LOGIN, text, text)


def check_order(element: Element) -> None:
    """Hold every element against the order of the schema."""
    wanted = ORDER.get(element.tag, [])
    places = [wanted.index(child.tag) for child in element if wanted]
    assert all(left <= right for left, right in pairwise(places)), element.tag
    for child in element:
        check_order(child)


def test_every_code_is_one_of_the_standard() -> None:
    known = {value: meaning for names in concepts["DCM"].values() for value, (meaning, _) in names.items()}
    used = [code for code in vars(audit_message).values() if isinstance(code, Code) and code.scheme_designator == "DCM"]

    assert len(used) > 20
    assert [code for code in used if known.get(code.value) != code.meaning] == []


def test_a_message_has_the_elements_in_the_order_of_the_schema() -> None:
    made = fromstring(encode(_message()).decode())

    check_order(made)
    event = made.find("EventIdentification")
    assert event is not None
    assert event.attrib == {
        "EventActionCode": "C",
        "EventDateTime": "1970-01-01T00:00:01.500+00:00",
        "EventOutcomeIndicator": "4",
    }
    identifier = event.find("EventID")
    assert identifier is not None
    assert identifier.attrib == {
        "csd-code": "110104",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Transferred",
    }
    assert [one.get("NumberOfInstances") for one in made.iter("SOPClass")] == ["2", "1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_stays_a_value(text: str) -> None:
    harmless, made = (fromstring(encode(_message(one)).decode()) for one in ("x", text))

    assert [one.tag for one in made.iter()] == [one.tag for one in harmless.iter()]
    detail = made.find(".//ParticipantObjectDetail")
    assert detail is not None
    assert b64decode(detail.attrib["value"]).decode() == text.encode("utf-8", "replace").decode()


def test_a_name_of_another_script_comes_through() -> None:
    made = fromstring(encode(_message("Größe 山田")).decode())

    assert made.findtext(".//ParticipantObjectName") == "Größe 山田"


def test_what_is_empty_is_called_unknown() -> None:
    made = fromstring(encode(_message("")).decode())

    assert {one.get("UserID") for one in made.iter("ActiveParticipant")} == {"unknown"}
    assert made.findtext(".//ParticipantObjectName") == "unknown"


@pytest.mark.parametrize(("network", "kind"), [("10.0.0.7", "2"), ("::1", "2"), ("mr1", "1"), ("https://pacs/rs", "5")])
def test_a_network_access_point_is_called_what_it_is(network: str, kind: str) -> None:
    message = replace(_message(), participants=[Participant("x", network=network)])

    made = fromstring(encode(message).decode()).find("ActiveParticipant")

    assert made is not None
    assert made.get("NetworkAccessPointTypeCode") == kind
