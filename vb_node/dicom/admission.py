"""What a data set must hold before it may be answered Success.

That pydicom reads it proves nothing (it takes 300 of 300 random blobs, and Pixel Data of any length), so the
structure is walked here to its last byte: iteratively, in place, and with limits.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from struct import unpack_from
from typing import Literal

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from vb_node.errors import Refused

LEGAL_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MOST_ELEMENTS, MOST_DEPTH = 100_000, 32
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END, PIXEL_DATA = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
_LONG_VR = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
# what pydicom was seen to raise over garbage (tests/chaos/fuzz.py)
_UNREADABLE = (AttributeError, LookupError, NotImplementedError, OSError, RecursionError, TypeError, ValueError)
_SHORT_VR = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
_VR = _LONG_VR.union(_SHORT_VR)  # of any other VR readers take the length differently (PS3.5 6.2)
_OPEN_VR = {b"OB", b"OW", b"SQ", b"UN"}  # these may be of undefined length

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PIXEL_SHAPE = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "PhotometricInterpretation")

CLASS_MISMATCH, INSTANCE_MISMATCH, PIXEL_LENGTH = 0xA901, 0xA902, 0xA903
CANNOT_PARSE, TRUNCATED, TOO_MUCH, MISSING_UID, ILLEGAL_UID = 0xC000, 0xC001, 0xC002, 0xC004, 0xC005


def admit(data: bytes, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Check one data set against its C-STORE request and give its header (no pixels).

    Raises
    ------
    Refused
        With the status of the first thing that is wrong (PS3.4 table B.2-1).
    """
    syntax = UID(transfer_syntax_uid)
    pixel_length = walk(data, syntax.is_implicit_VR)
    header = _read(data, syntax)
    _check_identity(header, sop_class_uid, sop_instance_uid)
    if pixel_length is None and UID(sop_class_uid).name.endswith("Image Storage"):
        raise Refused("an image with Pixel Data expected, none came: the data set may be cut", TRUNCATED)
    if syntax.is_encapsulated and pixel_length not in (None, UNDEFINED):
        raise Refused(f"Pixel Data in fragments expected (PS3.5 A.4), {pixel_length} bytes in one came", PIXEL_LENGTH)
    if pixel_length is not None and not syntax.is_encapsulated:
        _check_pixel_length(header, pixel_length)
    return header


@dataclass(frozen=True, slots=True)
class _Level:
    """Where the walk is: in a data set (of an item or the whole), a sequence or encapsulated fragments.

    ``limit`` is the end of the level, or, where its length is undefined (``is_open``), of what surrounds it.
    """

    kind: Literal["data set", "sequence", "fragments"]
    limit: int
    is_open: bool
    is_implicit: bool


def walk(data: bytes, is_implicit: bool) -> int | None:
    """Follow every length to the last byte and give that of the Pixel Data, if there is any.

    Raises
    ------
    Refused
        C001 when an element runs past the end of what holds it, C000 when there is no structure or an element comes
        twice (readers differ in which one they take), C002 past the limits of depth and count.
    """
    levels = [_Level("data set", len(data), False, is_implicit)]
    seen: dict[int, int] = {}  # the elements of the data set itself, and their lengths
    position, elements = 0, 0
    while levels:
        level = levels[-1]
        if position == level.limit and not level.is_open:
            levels.pop()
            continue
        tag, vr, length, start = _element(data, position, level.is_implicit)
        elements += 1
        if elements > MOST_ELEMENTS or len(levels) > MOST_DEPTH:
            raise Refused(f"more than {MOST_ELEMENTS} elements or {MOST_DEPTH} levels", TOO_MUCH)
        if not _is_in_place(tag, vr, length, level) or (len(levels) == 1 and tag in seen):
            raise Refused(f"no DICOM structure at byte {position}", CANNOT_PARSE)
        if len(levels) == 1:
            seen[tag] = length
        inner = _inner(tag, vr, length, level)
        end = start if length == UNDEFINED else start + length
        if end > level.limit:
            raise Refused(f"the element at byte {position} runs past the end of what holds it", TRUNCATED)
        if tag in (ITEM_END, SEQUENCE_END):
            levels.pop()
        elif inner is not None:
            is_open = length == UNDEFINED
            levels.append(_Level(inner, level.limit if is_open else end, is_open, level.is_implicit or vr == b"UN"))
        position = end if inner is None else start
    return seen.get(PIXEL_DATA)


def _is_in_place(tag: int, vr: bytes, length: int, level: _Level) -> bool:
    """Say whether an element may stand on a level (PS3.5 7.5 and A.4)."""
    if tag in (ITEM_END, SEQUENCE_END):
        return level.is_open and length == 0 and (tag == ITEM_END) == (level.kind == "data set")
    if tag == ITEM:
        return level.kind == "sequence" or (level.kind == "fragments" and length != UNDEFINED)
    is_known = 0x0008 <= tag >> 16 != 0xFFFE and (not vr or vr in _VR)
    return level.kind == "data set" and is_known and (length != UNDEFINED or not vr or vr in _OPEN_VR)


def _inner(tag: int, vr: bytes, length: int, level: _Level) -> Literal["data set", "sequence", "fragments"] | None:
    """Say what an element holds, None for a plain value."""
    if tag == ITEM:
        return "data set" if level.kind == "sequence" else None
    if length == UNDEFINED:
        return "fragments" if vr in (b"OB", b"OW") else "sequence"
    return "sequence" if vr == b"SQ" or (level.is_implicit and _is_sequence(tag)) else None


@lru_cache(maxsize=8192)
def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


def _element(data: bytes, position: int, is_implicit: bool) -> tuple[int, bytes, int, int]:
    """Give (tag, VR, length, start of value) of the element at a position (PS3.5 7.1)."""
    try:
        group, element = unpack_from("<HH", data, position)
        tag, vr = group << 16 | element, data[position + 4 : position + 6]
        if is_implicit or group == 0xFFFE:
            return tag, b"", unpack_from("<L", data, position + 4)[0], position + 8
        if vr in _LONG_VR:
            return tag, vr, unpack_from("<L", data, position + 8)[0], position + 12
        return tag, vr, unpack_from("<H", data, position + 6)[0], position + 8
    except Exception as error:
        raise Refused(f"the data set ends within an element at byte {position}", TRUNCATED) from error


def _read(data: bytes, syntax: UID) -> Dataset:
    def is_pixel_data(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) >= PIXEL_DATA

    try:
        header = read_dataset(BytesIO(data), syntax.is_implicit_VR, True, stop_when=is_pixel_data)
        for keyword in IDENTITY + PIXEL_SHAPE:
            header.get(keyword)  # pydicom reads a value when it is asked for
    except _UNREADABLE as error:
        raise Refused(f"the data set cannot be read: {type(error).__name__}", CANNOT_PARSE) from error
    return header


def _check_identity(header: Dataset, sop_class_uid: str, sop_instance_uid: str) -> None:
    for keyword in IDENTITY:
        value = header.get(keyword)
        if not value:
            raise Refused(f"{keyword} expected, none came", MISSING_UID)
        if not isinstance(value, str) or len(value) > 64 or not LEGAL_UID.fullmatch(value):
            raise Refused(f"{keyword} is no legal UID (PS3.5 9.1)", ILLEGAL_UID)
    if header.SOPClassUID != sop_class_uid:
        raise Refused(f"SOP class {sop_class_uid} announced, {header.SOPClassUID} came", CLASS_MISMATCH)
    if header.SOPInstanceUID != sop_instance_uid:
        raise Refused(
            f"SOP instance {sop_instance_uid[:64]} announced, {header.SOPInstanceUID} came", INSTANCE_MISMATCH
        )


def _check_pixel_length(header: Dataset, length: int) -> None:
    try:
        samples = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel") or 1)
        frames = int(header.get("NumberOfFrames") or 1)
        bits = samples * frames * int(header.BitsAllocated)
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused(
            "Pixel Data without readable Rows, Columns, NumberOfFrames and BitsAllocated", PIXEL_LENGTH
        ) from error
    expected = (bits + 7) // 8
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        expected = expected * 2 // 3
    if length not in (expected, expected + expected % 2):
        raise Refused(f"Pixel Data of {expected} bytes expected, {length} came", PIXEL_LENGTH)
