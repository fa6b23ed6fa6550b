"""What may be answered Success: nothing that is cut, of another name, or of another length than it says."""

from struct import pack

import numpy as np
import pytest
from factories import head, mr_series
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from vb_node.dicom.admission import Header, admit
from vb_node.dicom.structure import CANNOT_PARSE
from vb_node.errors import Refused


def _instance() -> Dataset:
    return mr_series(head((16, 64, 72)))[0]


def _bytes(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Write the data set alone, as it crosses the network."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _admit(dataset: Dataset, data: bytes, syntax: str = ExplicitVRLittleEndian) -> Header:
    return admit(data, syntax, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_good_instance_is_admitted(syntax: str) -> None:
    instance = _instance()

    header = _admit(instance, _bytes(instance, syntax), syntax)

    assert header.sop_instance_uid == instance.SOPInstanceUID
    assert header.patient_id == instance.PatientID


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_a_compressed_instance_is_admitted(syntax: str) -> None:
    instance = _instance()
    instance.compress(syntax, generate_instance_uid=False)

    _admit(instance, _bytes(instance), syntax)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_no_cut_instance_is_admitted(syntax: str) -> None:
    instance = _instance()
    data = _bytes(instance, syntax)

    for cut in range(0, len(data), 31):
        with pytest.raises(Refused):
            _admit(instance, data[:cut], syntax)


def test_no_cut_compressed_instance_is_admitted() -> None:
    instance = _instance()
    instance.compress(RLELossless, generate_instance_uid=False)
    data = _bytes(instance)

    for cut in range(0, len(data), 17):
        with pytest.raises(Refused):
            _admit(instance, data[:cut], RLELossless)


@given(st.binary(min_size=1, max_size=400))
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(Refused):
        admit(data, ExplicitVRLittleEndian, "1.2", "1.2.3")


@pytest.mark.parametrize(
    ("keyword", "value", "status"),
    [
        ("SOPInstanceUID", "1.2.3.999", 0xA902),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", 0xA901),
        ("StudyInstanceUID", None, 0xC004),
        ("SeriesInstanceUID", "../../etc/x", 0xC005),
        ("StudyInstanceUID", "..", 0xC005),
        ("StudyInstanceUID", "1." + "2" * 70, 0xC005),
        ("Rows", 65, 0xA903),
        ("NumberOfFrames", "2147483647", 0xA903),
        ("BitsAllocated", 8, 0xA903),
    ],
)
def test_what_does_not_fit_its_request_is_refused_with_its_status(keyword: str, value: object, status: int) -> None:
    instance = _instance()
    uids = str(instance.SOPClassUID), str(instance.SOPInstanceUID)
    if value is None:
        delattr(instance, keyword)
    else:
        setattr(instance, keyword, value)

    with pytest.raises(Refused) as refused:
        admit(_bytes(instance), ExplicitVRLittleEndian, *uids)

    assert refused.value.status == status


def test_a_nest_without_end_is_refused_and_no_stack_overflows() -> None:
    instance = _instance()
    opening = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"

    with pytest.raises(Refused) as refused:
        _admit(instance, opening * 3000)

    assert refused.value.status == 0xC002


_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_OPEN, _NONE = b"\xff\xff\xff\xff", b"\0\0\0\0"
_REFERENCE = b"\x08\x00\x40\x11"


@pytest.mark.parametrize(
    ("element", "status"),
    [
        (_REFERENCE + b"SQ\0\0" + b"\x0c\0\0\0" + _ITEM + b"\x04\0\0\0" + b"\x08\0\x50\x11", 0xC000),
        (_REFERENCE + b"SQ\0\0" + b"\x08\0\0\0" + _ITEM + b"\x40\0\0\0", 0xC001),
        (_REFERENCE + b"SQ\0\0" + _OPEN + _ITEM + _OPEN + _SEQUENCE_END + _NONE + _ITEM_END + _NONE, 0xC000),
        (_REFERENCE + b"SQ\0\0" + b"\x08\0\0\0" + b"\x08\0\x50\x11UI\0\0", 0xC000),
        (b"\x08\0\x18\0UI\x06\x001.2.3\0", 0xC000),
        (b"\x08\0\x16\0ZZ\0\0", 0xC000),
        (b"\0\0\0\x01US\x02\0\x01\0", 0xC000),
    ],
    ids=["cut item", "item past its sequence", "crossed ends", "no item", "twice", "unknown VR", "command element"],
)
def test_d_18_what_readers_take_differently_is_refused(element: bytes, status: int) -> None:
    instance = _instance()

    with pytest.raises(Refused) as refused:
        _admit(instance, element + _bytes(instance))

    assert refused.value.status == status


def test_d_18_a_uid_under_another_vr_is_refused() -> None:
    instance = _instance()
    data = _bytes(instance).replace(b"\x08\0\x16\0UI", b"\x08\0\x16\0US")

    with pytest.raises(Refused) as refused:
        _admit(instance, data)

    assert refused.value.status == 0xC005


@pytest.mark.parametrize(("tag", "is_taken"), [(0x00400275, True), (0x00091010, True), (0x00080104, False)])
def test_d_18_without_vrs_the_dictionary_says_what_may_be_open(tag: int, *, is_taken: bool) -> None:
    """A sequence, or what nobody knows; a Code Meaning of undefined length DCMTK would not read."""
    instance = _instance()
    item = pack("<HHL", 0xFFFE, 0xE000, 0) + pack("<HHL", 0xFFFE, 0xE0DD, 0)
    data = pack("<HHL", tag >> 16, tag & 0xFFFF, 0xFFFFFFFF) + item + _bytes(instance, ImplicitVRLittleEndian)

    if is_taken:
        _admit(instance, data, ImplicitVRLittleEndian)
        return
    with pytest.raises(Refused) as refused:
        _admit(instance, data, ImplicitVRLittleEndian)
    assert refused.value.status == CANNOT_PARSE


def test_compressed_pixels_in_one_piece_are_refused() -> None:
    instance = _instance()

    with pytest.raises(Refused) as refused:
        _admit(instance, _bytes(instance), RLELossless)

    assert refused.value.status == 0xA903


def test_a_refusal_holds_no_patient_data() -> None:
    instance = _instance()
    instance.PatientName = "CANARY^NAME"
    instance.PixelData = np.zeros(10, np.uint8).tobytes()

    with pytest.raises(Refused) as refused:
        _admit(instance, _bytes(instance))

    assert "CANARY" not in str(refused.value)
