"""What a data set must hold before it may be answered Success.

That pydicom reads it proves nothing (it takes 300 of 300 random blobs, and Pixel Data of any length), so the
structure is walked here to its last byte: iteratively, in place, and with limits.
"""

import re
from io import BytesIO
from struct import unpack_from

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from vb_node.errors import Refused

LEGAL_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MOST_ELEMENTS, MOST_DEPTH = 100_000, 32
UNDEFINED = 0xFFFFFFFF
ITEM_END, SEQUENCE_END, PIXEL_DATA = 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
_LONG_VR = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}

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
    if pixel_length is not None and not syntax.is_encapsulated:
        _check_pixel_length(header, pixel_length)
    return header


def walk(data: bytes, is_implicit: bool) -> int | None:
    """Follow every length to the last byte and give that of the Pixel Data, if there is any.

    Raises
    ------
    Refused
        C001 when an element runs past the end, C000 when there is no structure, C002 past the limits of depth and
        count.
    """
    position, elements, pixel_length = 0, 0, None
    nested = [is_implicit]  # one entry a level: is it implicit VR (UN of undefined length is, PS3.5 6.2.2)
    while position < len(data):
        tag, vr, length, start = _element(data, position, nested[-1])
        elements += 1
        if elements > MOST_ELEMENTS or len(nested) > MOST_DEPTH:
            raise Refused(f"more than {MOST_ELEMENTS} elements or {MOST_DEPTH} levels", TOO_MUCH)
        if tag == PIXEL_DATA and len(nested) == 1:
            pixel_length = length
        if tag in (ITEM_END, SEQUENCE_END):
            nested.pop()
        elif length == UNDEFINED:
            nested.append(nested[-1] or vr == b"UN")
        else:
            start += length
        if not nested or tag >> 16 == 0x0002 or (vr and not vr.isalpha()):
            raise Refused(f"no DICOM structure at byte {position}", CANNOT_PARSE)
        position = start
    if position != len(data) or len(nested) != 1:
        raise Refused(f"the data set has {len(data)} bytes, its lengths ask for more", TRUNCATED)
    return pixel_length


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
        return read_dataset(BytesIO(data), syntax.is_implicit_VR, True, stop_when=is_pixel_data)
    except (ValueError, OSError, KeyError, NotImplementedError, RecursionError, BytesLengthException) as error:
        raise Refused(f"the data set cannot be read: {type(error).__name__}", CANNOT_PARSE) from error


def _check_identity(header: Dataset, sop_class_uid: str, sop_instance_uid: str) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
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
