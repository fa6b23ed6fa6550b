"""What a data set must hold before it may be answered Success.

That pydicom reads it proves nothing (it takes 300 of 300 random blobs, and Pixel Data of any length), so the
structure is walked to its last byte first (structure.py).
"""

import re
from io import BytesIO

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from vb_node.dicom.structure import CANNOT_PARSE, TRUNCATED, UNDEFINED, walk
from vb_node.errors import Refused

LEGAL_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
PIXEL_DATA = 0x7FE00010
# what pydicom was seen to raise over garbage (tests/chaos/fuzz.py)
_UNREADABLE = (
    AttributeError,
    BytesLengthException,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
PIXEL_SHAPE = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "PhotometricInterpretation")

CLASS_MISMATCH, INSTANCE_MISMATCH, PIXEL_LENGTH = 0xA901, 0xA902, 0xA903
MISSING_UID, ILLEGAL_UID = 0xC004, 0xC005


def admit(data: bytes, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Check one data set against its C-STORE request and give its header (no pixels).

    Raises
    ------
    Refused
        With the status of the first thing that is wrong (PS3.4 table B.2-1).
    """
    syntax = UID(transfer_syntax_uid)
    _, pixel_length = walk(data, syntax.is_implicit_VR).get(PIXEL_DATA, (0, None))
    header = _read(data, syntax)
    _check_identity(header, sop_class_uid, sop_instance_uid)
    if pixel_length is None and UID(sop_class_uid).name.endswith("Image Storage"):
        raise Refused("an image with Pixel Data expected, none came: the data set may be cut", TRUNCATED)
    if syntax.is_encapsulated and pixel_length not in (None, UNDEFINED):
        raise Refused(f"Pixel Data in fragments expected (PS3.5 A.4), {pixel_length} bytes in one came", PIXEL_LENGTH)
    if pixel_length is not None and not syntax.is_encapsulated:
        _check_pixel_length(header, pixel_length)
    return header


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
