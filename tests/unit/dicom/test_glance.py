"""One look at an instance, and what a series says of itself."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from factories import CORONAL, affine, enhanced_mr, mr_series, write
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from vb_node.dicom.glance import Glance, expected_instances, glance, is_unbroken

CUBE = np.zeros((6, 8, 8), np.int16)


def _look(datasets: list[Dataset], folder: Path) -> list[Glance]:
    return [glance(path) for path in write(datasets, folder)]


def test_a_series_counts_itself_by_images_in_acquisition(tmp_path: Path) -> None:
    seen = _look(mr_series(CUBE, AcquisitionNumber=1, ImagesInAcquisition=6), tmp_path)

    assert expected_instances(seen[:2]) == 6


@pytest.mark.parametrize("second", [{"AcquisitionNumber": 2}, {"ImagesInAcquisition": 7}])
def test_headers_that_disagree_count_nothing(tmp_path: Path, second: dict[str, int]) -> None:
    datasets = mr_series(CUBE, AcquisitionNumber=1, ImagesInAcquisition=6)
    for keyword, value in second.items():
        setattr(datasets[1], keyword, value)

    assert expected_instances(_look(datasets, tmp_path)) is None


def test_headers_that_say_nothing_count_nothing(tmp_path: Path) -> None:
    assert expected_instances(_look(mr_series(CUBE), tmp_path)) is None


def test_an_enhanced_instance_is_all_of_itself(tmp_path: Path) -> None:
    assert expected_instances(_look([enhanced_mr(CUBE)], tmp_path)) == 1


def test_a_concatenation_counts_its_parts(tmp_path: Path) -> None:
    part = enhanced_mr(CUBE, ConcatenationUID="1.2.3", InConcatenationNumber=1, InConcatenationTotalNumber=4)

    assert expected_instances(_look([part], tmp_path)) == 4


@pytest.mark.parametrize("seed", [0, 1])
def test_slices_at_one_step_are_unbroken_in_any_order(tmp_path: Path, seed: int) -> None:
    seen = _look(mr_series(CUBE, affine((2.0, 1.0, 1.0), CORONAL)), tmp_path)
    Random(seed).shuffle(seen)

    assert is_unbroken(seen) is True


def test_a_missing_slice_is_seen(tmp_path: Path) -> None:
    seen = _look(mr_series(CUBE, affine((2.0, 1.0, 1.0))), tmp_path)

    assert is_unbroken(seen[:2] + seen[3:]) is False


def test_every_other_slice_of_an_interleaved_series_tells_nothing(tmp_path: Path) -> None:
    seen = _look(mr_series(CUBE, affine((2.0, 1.0, 1.0))), tmp_path)

    assert is_unbroken(seen[::2]) is None


def test_two_echoes_are_unbroken_when_both_are_everywhere(tmp_path: Path) -> None:
    seen = _look(mr_series(CUBE) + mr_series(CUBE), tmp_path)

    assert is_unbroken(seen) is True
    assert is_unbroken(seen[:-1]) is False


@pytest.mark.parametrize("garbage", [b"NaN ", b"abcd", b"1e4Z"])
def test_a_damaged_position_tells_nothing(tmp_path: Path, garbage: bytes) -> None:
    paths = write(mr_series(CUBE, affine(origin_lps=(7.25, 0.0, 0.0))), tmp_path)
    paths[0].write_bytes(paths[0].read_bytes().replace(b"7.25", garbage))

    seen = [glance(path) for path in paths]

    assert [one.position_lps is None for one in seen] == [True] + [False] * 5
    assert is_unbroken(seen) is None


def test_a_file_that_is_no_dicom_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no DICOM")

    assert glance(tmp_path / "x") == Glance(is_read=False)
    assert glance(tmp_path / "is not there") == Glance(is_read=False)


def test_a_name_is_compared_by_its_letters(tmp_path: Path) -> None:
    one, other = mr_series(CUBE, PatientName="Doe^Jane")[0], mr_series(CUBE, PatientName="DOE^JANE^^")[0]

    first, second = _look([one], tmp_path / "1")[0], _look([other], tmp_path / "2")[0]

    assert first.patient_name == second.patient_name


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("terms", "name"),
    [
        ("ISO_IR 192", "Müller^Änne"),
        ("ISO_IR 100", "MÜLLER^ÄNNE"),
        (["", "ISO 2022 IR 87"], "YAMADA^TAROU=山田^太郎"),
    ],
)
def test_who_it_is_of_is_read_in_its_character_set(
    tmp_path: Path, syntax: UID, terms: str | list[str], name: str
) -> None:
    (dataset,) = mr_series(CUBE[:1], SpecificCharacterSet=terms, PatientName=name, PatientID=" 4711")
    (path,) = write([dataset], tmp_path, syntax)

    seen = glance(path)

    assert (seen.patient_name, seen.patient_id, seen.is_image) == (name.upper(), "4711", True)
