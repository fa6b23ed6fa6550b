"""Reading others' files: patient, and bounded."""

import zlib
from pathlib import Path

import pytest
from factories import head, mr_series, write
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from vb_node.dicom import read
from vb_node.dicom.read import read_folder, read_header, value
from vb_node.errors import Unfit


def test_a_header_is_read_without_its_pixels(tmp_path: Path) -> None:
    path = write(mr_series(head())[:1], tmp_path)[0]

    header = read_header(path)

    assert header.Rows == 32
    assert "PixelData" not in header


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    path = write(mr_series(head())[:1], tmp_path)[0]
    uid = read_header(path).SOPInstanceUID
    path.write_bytes(path.read_bytes()[132:])

    header = read_header(path)

    assert header.SOPInstanceUID == uid


@pytest.mark.parametrize(
    "content", [b"", b"no DICOM at all, but a text of some length" * 20, bytes(4096), b"\x89PNG\r\n"]
)
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)

    with pytest.raises(Unfit, match="expected a DICOM file"):
        read_header(path)


@pytest.mark.parametrize(("vr", "raw"), [("FD", b"***"), ("Zz", b"1"), ("IS", b"1e400"), ("US", b"123")])
def test_a_damaged_element_reads_as_absent(vr: str, raw: bytes) -> None:
    header = mr_series(head())[0]
    tag = Tag("SliceThickness")
    header[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)

    assert value(header, "SliceThickness") is None
    assert value(header, "Rows") == 32


def test_a_folder_is_grouped_by_series_and_the_rest_passed_over(tmp_path: Path) -> None:
    first, second = mr_series(head()[:3]), mr_series(head()[:2])
    write(first, tmp_path / "a")
    write(second, tmp_path / "a" / "deeper")
    (tmp_path / "notes.txt").write_text("not an image")

    found = read_folder(tmp_path)

    assert {uid: len(instances) for uid, instances in found.items()} == {
        first[0].SeriesInstanceUID: 3,
        second[0].SeriesInstanceUID: 2,
    }


def test_a_deflated_file_is_read(tmp_path: Path) -> None:
    path = write(mr_series(head())[:1], tmp_path, DeflatedExplicitVRLittleEndian)[0]

    header = read_header(path)

    assert header.Columns == 32


def test_a_deflated_file_that_inflates_beyond_the_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(mr_series(head())[:1], tmp_path, DeflatedExplicitVRLittleEndian)[0]
    raw = path.read_bytes()
    begin = 144 + int.from_bytes(raw[140:144], "little")
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(raw[:begin] + squeeze.compress(bytes(2**22)) + squeeze.flush())
    monkeypatch.setattr(read, "MAX_INFLATED_BYTES", 2**21)

    with pytest.raises(Unfit, match="inflated"):
        read_header(path)


@pytest.mark.real_data
def test_a_study_folder_is_three_series(real_data: Path) -> None:
    found = read_folder(real_data / "remind_022_t1ce_seg")

    assert sorted(len(instances) for instances in found.values()) == [1, 176, 192]
