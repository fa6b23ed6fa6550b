"""The answer to a Store transaction: its status, and what it says of each part."""

import json
from xml.etree import ElementTree

import pytest
from pydicom import Dataset

from vb_node.dicomweb.store_response import JSON, XML, Outcome, encode, status

STORED, DUPLICATE = Outcome("1.2", "1.3"), Outcome("1.2", "1.4", 0x0111)
FULL, UNKNOWN = Outcome("1.2", "1.5", 0xA700), Outcome(failure_reason=0xC000)
LARGE = Outcome("1.2", "1.6", 0xA702)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([STORED], 200),
        ([STORED, DUPLICATE], 202),
        ([STORED, UNKNOWN], 202),
        ([DUPLICATE, FULL], 409),
        ([FULL, FULL], 503),
        ([LARGE], 413),
        ([LARGE, FULL], 503),
        ([UNKNOWN], 400),
        ([], 400),
    ],
)
def test_the_status_is_that_of_the_standard(outcomes: list[Outcome], expected: int) -> None:
    assert status(outcomes) == expected


def test_the_answer_is_dicom_json_that_pydicom_reads() -> None:
    body, media_type = encode([STORED, DUPLICATE, UNKNOWN], "application/dicom+json")

    said = Dataset.from_json(json.loads(body))
    assert media_type == JSON
    assert said.RetrieveURL == ""
    assert said.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.3"
    assert [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in said.FailedSOPSequence] == [("1.4", 0x0111)]
    assert [one.FailureReason for one in said.OtherFailuresSequence] == [0xC000]


def test_the_answer_is_xml_where_only_that_is_accepted() -> None:
    body, media_type = encode([STORED, DUPLICATE], "application/dicom+xml")

    root = ElementTree.fromstring(body)
    values = {one.get("keyword"): one.findtext("{*}Value") for one in root.iter() if one.find("{*}Value") is not None}
    assert media_type == XML
    assert root.tag.endswith("NativeDicomModel")
    assert values["FailureReason"] == str(0x0111)
    assert [one.get("keyword") for one in root] == ["RetrieveURL", "FailedSOPSequence", "ReferencedSOPSequence"]
