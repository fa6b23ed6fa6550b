"""The file meta information of strangers is read with bounds."""

from io import BytesIO

import pytest
from factories import head, mr_series
from pydicom import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from vb_node.dicom import part10
from vb_node.errors import Refused


@pytest.fixture
def file() -> bytes:
    (dataset,) = mr_series(head((1, 16, 16)))
    buffer = BytesIO()
    dataset.file_meta.PrivateInformationCreatorUID, dataset.file_meta.PrivateInformation = "1.2.3", b"\0" * 70
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_the_data_set_begins_after_the_file_meta_information(file: bytes) -> None:
    meta = part10.read(file[: part10.LONGEST_META])

    assert (meta.sop_class_uid, meta.transfer_syntax_uid) == (MRImageStorage, ExplicitVRLittleEndian)
    assert file[meta.start : meta.start + 2] == b"\x08\x00"


def test_every_cut_in_the_file_meta_information_is_refused(file: bytes) -> None:
    whole = part10.read(file).start

    for length in range(whole):
        with pytest.raises(Refused):
            part10.read(_without_later_uids(file, length, whole))


def _without_later_uids(file: bytes, length: int, whole: int) -> bytes:
    """Cut within an element, or before the transfer syntax: a cut after it leaves what is needed."""
    syntax = file.index(b"\x02\x00\x10\x00", 132, whole)
    return file[: min(length, syntax)]


@pytest.mark.parametrize("content", [b"", b"DICM", b"\0" * 128 + b"DICM", b"\0" * 200, b"x" * 128 + b"DICM\x02\0"])
def test_what_is_no_file_of_part_10_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        part10.read(content)


def test_a_length_beyond_the_bound_is_refused(file: bytes) -> None:
    at = file.index(b"\x02\x00\x02\x01OB")
    lying = file[: at + 8] + b"\xff\xff\xff\x7f" + file[at + 12 :]

    with pytest.raises(Refused, match="65536"):
        part10.read(lying[: part10.LONGEST_META])
