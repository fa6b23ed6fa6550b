"""What a data set must hold before it may be answered Success.

That pydicom reads it proves nothing (it takes 300 of 300 random blobs, and Pixel Data of any length), so the
structure is walked to its last byte first (structure.py), and what is needed of it is read in place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.uid import UID

from vb_node.dicom.structure import TRUNCATED, UNDEFINED, values_at, walk
from vb_node.errors import Refused

LEGAL_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
PIXEL_DATA = 0x7FE00010

CLASS_MISMATCH, INSTANCE_MISMATCH, PIXEL_LENGTH = 0xA901, 0xA902, 0xA903
MISSING_UID, ILLEGAL_UID = 0xC004, 0xC005


CHARACTER_SET, SOP_CLASS, SOP_INSTANCE, ACCESSION, PATIENT = 0x00080005, 0x00080016, 0x00080018, 0x00080050, 0x00100020
STUDY, SERIES, SAMPLES, PHOTOMETRIC, FRAMES = 0x0020000D, 0x0020000E, 0x00280002, 0x00280004, 0x00280008
ROWS, COLUMNS, BITS_ALLOCATED = 0x00280010, 0x00280011, 0x00280100
UIDS = {
    SOP_CLASS: "SOPClassUID",
    SOP_INSTANCE: "SOPInstanceUID",
    SERIES: "SeriesInstanceUID",
    STUDY: "StudyInstanceUID",
}
_READ = {CHARACTER_SET, ACCESSION, PATIENT, SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, BITS_ALLOCATED, *UIDS}


@dataclass(frozen=True)
class Header:
    """By what an instance is kept and found."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    accession_number: str


def admit(
    data: bytes | mmap, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, *, start: int = 0
) -> Header:
    """Check one data set, from ``start``, against its C-STORE request and give its header.

    Raises
    ------
    Refused
        With the status of the first thing that is wrong (PS3.4 table B.2-1).
    """
    is_implicit, is_encapsulated = _form_of(transfer_syntax_uid)
    places = walk(data, is_implicit, start=start)
    found = values_at(data, places, _READ)
    _, pixel_length = places.get(PIXEL_DATA, (0, None))
    if not is_implicit and any(_vr_before(data, places[tag][0]) != b"UI" for tag in UIDS.keys() & places):
        raise Refused("UIDs of VR UI expected, another VR came", ILLEGAL_UID)
    uids = _identity(found, sop_class_uid, sop_instance_uid)
    if pixel_length is None and _is_image(sop_class_uid):
        raise Refused("an image with Pixel Data expected, none came: the data set may be cut", TRUNCATED)
    if is_encapsulated and pixel_length not in (None, UNDEFINED):
        raise Refused(f"Pixel Data in fragments expected (PS3.5 A.4), {pixel_length} bytes in one came", PIXEL_LENGTH)
    if pixel_length is not None and not is_encapsulated:
        _check_pixel_length(found, pixel_length)
    sop_class, sop_instance, series, study = uids
    return Header(sop_class, sop_instance, series, study, _text(found, PATIENT), _text(found, ACCESSION))


def _vr_before(data: bytes | mmap, start: int) -> bytes:
    """Give the VR of an element of two bytes of length, by where its value starts (PS3.5 7.1.2)."""
    return data[start - 4 : start - 2]


@lru_cache
def _form_of(transfer_syntax_uid: str) -> tuple[bool, bool]:
    """Say whether VRs are implicit, and whether pixels are in fragments."""
    syntax = UID(transfer_syntax_uid)
    return syntax.is_implicit_VR, syntax.is_encapsulated


@lru_cache
def _is_image(sop_class_uid: str) -> bool:
    return UID(sop_class_uid).name.endswith("Image Storage")


def _identity(found: Mapping[int, bytes], sop_class_uid: str, sop_instance_uid: str) -> list[str]:
    values = []
    for tag, keyword in UIDS.items():
        value = found.get(tag, b"").rstrip(b"\0 ").decode("latin-1")
        if not value:
            raise Refused(f"{keyword} expected, none came", MISSING_UID)
        if len(value) > 64 or not LEGAL_UID.fullmatch(value):
            raise Refused(f"{keyword} is no legal UID (PS3.5 9.1)", ILLEGAL_UID)
        values.append(value)
    if values[0] != sop_class_uid:
        raise Refused(f"SOP class {sop_class_uid} announced, {values[0]} came", CLASS_MISMATCH)
    if values[1] != sop_instance_uid:
        raise Refused(f"SOP instance {sop_instance_uid[:64]} announced, {values[1]} came", INSTANCE_MISMATCH)
    return values


def _text(found: Mapping[int, bytes], tag: int) -> str:
    """Read a text for finding by, in its character set (PS3.5 6.1.2); what cannot be read is replaced."""
    value = found.get(tag, b"")
    if value.isascii():
        text = value.decode("ascii")
    else:
        text = decode_bytes(value, encodings(found.get(CHARACTER_SET, b"")), set())
    return text.strip(" \0")[:64]


def encodings(character_set: bytes) -> list[str]:
    """Give the encodings that a Specific Character Set names (PS3.3 C.12.1.1.2)."""
    return convert_encodings([term.strip() for term in character_set.decode("ascii", "replace").split("\\")])


def _check_pixel_length(found: Mapping[int, bytes], length: int) -> None:
    try:
        samples = _number(found, ROWS) * _number(found, COLUMNS) * _number(found, SAMPLES, 1)
        bits = samples * int(found.get(FRAMES) or 1) * _number(found, BITS_ALLOCATED)
    except ValueError as error:
        raise Refused(
            "Pixel Data without readable Rows, Columns, NumberOfFrames and BitsAllocated", PIXEL_LENGTH
        ) from error
    expected = (bits + 7) // 8
    if found.get(PHOTOMETRIC, b"").strip() == b"YBR_FULL_422":
        expected = expected * 2 // 3
    if length not in (expected, expected + expected % 2):
        raise Refused(f"Pixel Data of {expected} bytes expected, {length} came", PIXEL_LENGTH)


def _number(found: Mapping[int, bytes], tag: int, default: int | None = None) -> int:
    """Read one US value."""
    value = found.get(tag, b"")
    if not value and default is not None:
        return default
    if len(value) != 2:
        raise ValueError(tag)
    return int.from_bytes(value, "little")
