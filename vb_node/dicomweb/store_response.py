"""What an origin server answers to a Store transaction (PS3.18 10.5.3, annex I): status and Store Instances Response.

Nothing can be retrieved here, so that every Retrieve URL, which is of type 2, is empty.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from pydicom.datadict import keyword_for_tag

JSON, XML = "application/dicom+json", "application/dicom+xml"
NATIVE_MODEL = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
OUT_OF_RESOURCES, TOO_LARGE = 0xA7, 0xA702

RETRIEVE_URL = "00081190"
FAILED, FAILURE_REASON, REFERENCED, OTHER_FAILURES = "00081198", "00081197", "00081199", "0008119A"
CLASS_UID, INSTANCE_UID = "00081150", "00081155"

Module = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one part: stored, or failed for a reason, a C-STORE status; empty UIDs are not known."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    failure_reason: int | None = None

    @property
    def is_stored(self) -> bool:
        return self.failure_reason is None


def status(outcomes: Sequence[Outcome]) -> int:
    """Give the HTTP status (PS3.18 table 10.5.3-1); 413 and 503 of 8.5 where nothing but size or space is wrong."""
    stored = sum(one.is_stored for one in outcomes)
    if stored:
        return 200 if stored == len(outcomes) else 202
    if not any(one.sop_instance_uid for one in outcomes):
        return 400
    reasons = [one.failure_reason or 0 for one in outcomes]
    if all(reason == TOO_LARGE for reason in reasons):
        return 413
    return 503 if all(reason >> 8 == OUT_OF_RESOURCES for reason in reasons) else 409


def module(outcomes: Iterable[Outcome]) -> Module:
    """Make the Store Instances Response Module (PS3.18 table I.1-1) as DICOM JSON."""
    referenced, failed, other = [], [], []
    for one in outcomes:
        reason = {FAILURE_REASON: {"vr": "US", "Value": [one.failure_reason]}}
        if one.is_stored:
            referenced.append(_reference(one) | {RETRIEVE_URL: {"vr": "UR"}})
        elif one.sop_instance_uid:
            failed.append(_reference(one) | reason)
        else:
            other.append(reason)
    sequences = {FAILED: failed, REFERENCED: referenced, OTHER_FAILURES: other}
    made: Module = {RETRIEVE_URL: {"vr": "UR"}}
    return made | {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def _reference(one: Outcome) -> Module:
    """Make the SOP Instance Reference Macro (PS3.3 table 10-11)."""
    uids = {CLASS_UID: one.sop_class_uid, INSTANCE_UID: one.sop_instance_uid}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}


def encode(outcomes: Iterable[Outcome], accept: str) -> tuple[bytes, str]:
    """Write the module as JSON, or as XML where only that is accepted; give its media type too."""
    said = module(outcomes)
    if XML in accept and "json" not in accept:
        root = ElementTree.Element("NativeDicomModel", xmlns=NATIVE_MODEL)
        _add(root, said)
        return ElementTree.tostring(root, "utf-8", xml_declaration=True), XML
    return json.dumps(said).encode(), JSON


def _add(parent: ElementTree.Element, said: Module) -> None:
    """Add attributes in the Native DICOM Model (PS3.19 A.1)."""
    for tag, attribute in said.items():
        names = {"tag": tag, "vr": attribute["vr"], "keyword": keyword_for_tag(int(tag, 16))}
        element = ElementTree.SubElement(parent, "DicomAttribute", names)
        for number, value in enumerate(attribute.get("Value", ()), 1):
            kind = "Item" if attribute["vr"] == "SQ" else "Value"
            child = ElementTree.SubElement(element, kind, number=str(number))
            if kind == "Item":
                _add(child, value)
            else:
                child.text = str(value)
