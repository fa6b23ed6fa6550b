"""One look at an instance: who it is of, where it stands, and what it says of how many there are.

Patient with damage: what cannot be read is not there. Nothing here judges: that is for evidence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
from pydicom.charset import decode_bytes
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from vb_node.dicom import part10
from vb_node.dicom.admission import encodings
from vb_node.dicom.read import DAMAGE
from vb_node.dicom.structure import values_at, walk
from vb_node.errors import Refused

KEYWORDS = (
    "SpecificCharacterSet",
    "PatientID",
    "PatientName",
    "Rows",
    "NumberOfFrames",
    "AcquisitionNumber",
    "ImagesInAcquisition",
    "ConcatenationUID",
    "InConcatenationTotalNumber",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SpacingBetweenSlices",
    "SliceThickness",
)
TAGS = {int(Tag(keyword)): keyword for keyword in KEYWORDS}


@dataclass(frozen=True)
class Glance:
    """What assembling needs to know of one instance.

    ``images_in_acquisition`` is of the acquisition ``acquisition`` (PS3.3 C.7.6.1); ``concatenation`` names one and its
    number of instances (PS3.3 C.7.6.16.2.2.4). ``orientation`` are the six cosines, ``position_lps`` is in mm;
    ``thickness_mm`` is SpacingBetweenSlices, else SliceThickness. Without ``is_read`` nothing is known: the file is
    damaged, or no longer there.
    """

    patient_id: str = ""
    patient_name: str = ""
    is_image: bool = False
    is_multi_frame: bool = False
    acquisition: str = ""
    images_in_acquisition: int | None = None
    concatenation: tuple[str, int] | None = None
    orientation: tuple[float, ...] | None = None
    position_lps: tuple[float, ...] | None = None
    thickness_mm: float | None = None
    is_read: bool = True


def glance(path: Path) -> Glance:
    """Look at the file of one instance; what is damaged says nothing."""
    try:
        return _of(_read(path))
    except (*DAMAGE, Refused):
        return Glance(is_read=False)


def _of(header: Mapping[str, bytes]) -> Glance:
    encoded_as = encodings(header.get("SpecificCharacterSet", b""))
    uid, total = _text(header, "ConcatenationUID"), _binary(header, "InConcatenationTotalNumber")
    spacing = _numbers(header, "SpacingBetweenSlices", 1) or _numbers(header, "SliceThickness", 1) or (None,)
    return Glance(
        patient_id=decode_bytes(header.get("PatientID", b""), encoded_as, set()).strip(" \0"),
        patient_name=str(PersonName(header.get("PatientName", b""), encoded_as)).upper().rstrip(" ^=\0"),
        is_image=_binary(header, "Rows") > 0,
        is_multi_frame=(_whole(header, "NumberOfFrames") or 1) > 1,
        acquisition=_text(header, "AcquisitionNumber"),
        images_in_acquisition=_whole(header, "ImagesInAcquisition"),
        concatenation=(uid, total) if uid and total else None,
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        position_lps=_numbers(header, "ImagePositionPatient", 3),
        thickness_mm=spacing[0],
    )


def _read(path: Path) -> dict[str, bytes]:
    """Read those values that are there; nothing of the pixels."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        meta = part10.read(content[: part10.LONGEST_META])
        places = walk(content, UID(meta.transfer_syntax_uid).is_implicit_VR, start=meta.start)
        return {TAGS[tag]: value for tag, value in values_at(content, places, TAGS.keys()).items()}


def expected_instances(glances: Sequence[Glance]) -> int | None:
    """Say how many instances a series has by its own headers; None where they do not say it, or disagree.

    A multi-frame instance is all of itself, a concatenation counts its parts; classic images count those of their
    acquisition, which is that of the series if there is one.
    """
    if not glances or not all(seen.is_image for seen in glances):
        return None
    if all(seen.is_multi_frame for seen in glances):
        parts = {seen.concatenation for seen in glances}
        return len(glances) if parts == {None} else _only({part[1] if part else None for part in parts})
    if len({seen.acquisition for seen in glances}) > 1:
        return None
    return _only({seen.images_in_acquisition for seen in glances})


def is_unbroken(glances: Sequence[Glance]) -> bool | None:
    """Say whether planes stand at one step with none missing between them; None where geometry cannot tell.

    Planes are taken by their orientation. Every place must be taken equally often, and a step about twice the stated
    thickness or more may be every other slice of an interleaved series: it tells nothing.
    """
    if not glances or any(seen.orientation is None or seen.position_lps is None for seen in glances):
        return None
    stacks: dict[tuple[float, ...], list[Glance]] = {}
    for seen in glances:
        stacks.setdefault(tuple(round(cosine, 2) for cosine in seen.orientation or ()), []).append(seen)
    verdicts = {_is_unbroken_stack(stack) for stack in stacks.values()}
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _is_unbroken_stack(stack: Sequence[Glance]) -> bool | None:
    cosines = np.array(stack[0].orientation).reshape(2, 3)
    places = np.round(np.array([seen.position_lps for seen in stack]) @ np.cross(*cosines), 2)
    taken, times = np.unique(places, return_counts=True)
    if len(taken) < 3:
        return None
    steps = np.diff(taken)
    step_mm = float(np.median(steps))
    if np.abs(steps - step_mm).max() > 0.1 * step_mm or len(set(times)) > 1:
        return False
    stated = [seen.thickness_mm for seen in stack if seen.thickness_mm]
    return True if stated and step_mm < 1.9 * max(stated) else None


def _only(values: set[int | None]) -> int | None:
    return values.pop() if len(values) == 1 else None


def _text(header: Mapping[str, bytes], keyword: str) -> str:
    return header.get(keyword, b"").decode("latin-1").strip(" \0")


def _binary(header: Mapping[str, bytes], keyword: str) -> int:
    return int.from_bytes(header.get(keyword, b""), "little")


def _whole(header: Mapping[str, bytes], keyword: str) -> int | None:
    found = _numbers(header, keyword, 1)
    return int(found[0]) if found and found[0] >= 1 else None


def _numbers(header: Mapping[str, bytes], keyword: str, count: int) -> tuple[float, ...] | None:
    """Read numbers that are written as texts (DS, IS)."""
    try:
        numbers = tuple(map(float, _text(header, keyword).split("\\")))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None
