"""Which planes make one volume, and what is said where they do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import AXIAL, CORONAL, SAGITTAL, affine, enhanced_mr, head, mr_series, turned
from pydicom import Dataset

from vb_node.dicom.read import Instance, read_folder
from vb_node.dicom.series import arrange, arrange_instances
from vb_node.errors import (
    BadGeometry,
    DuplicatedPositions,
    MissingSlices,
    MixedOrientations,
    NoFrameOfReference,
    TooFewSlices,
)
from vb_node.types import Series

PLACES = {
    "axial": affine((1.5, 0.9, 0.8), AXIAL, (-90, -120, -40)),
    "sagittal": affine((1.2, 1.0, 1.0), SAGITTAL, (-80, -110, 120)),
    "coronal": affine((2.0, 0.7, 0.7), CORONAL, (-80, 100, 110)),
    "oblique": affine((1.0, 0.98, 0.98), turned(23), (12.5, -80, -33)),
    "row towards -x": affine((1.0, 1.0, 1.0), ((-1, 0, 0), (0, -1, 0)), (90, 120, -30)),
    "thick": affine((6.5, 0.78, 0.78), AXIAL, (-100, -100, -60)),
}


def arranged(datasets: list[Dataset], min_slices: int = 16) -> Series:
    return arrange_instances([Instance(Path(str(d.SOPInstanceUID)), d) for d in datasets], min_slices)


def fractions(values: list[float]) -> list[str]:
    return [f"{value:.12g}" for value in values]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_slices_are_ordered_by_position_whatever_their_number_or_order(place: np.ndarray) -> None:
    datasets = mr_series(head(), place)
    expected = [d.SOPInstanceUID for d in datasets]
    for number, dataset in enumerate(np.random.default_rng(0).permutation(len(datasets))):
        datasets[dataset].InstanceNumber = number

    series = arranged(datasets[::2] + datasets[1::2])

    assert [plane.sop_instance_uid for plane in series.planes] == expected
    assert [header.SOPInstanceUID for header in series.headers] == expected
    np.testing.assert_allclose(series.grid.affine_lps, place, atol=1e-6)
    assert series.grid.shape == (24, 32, 32)


def test_slices_against_the_normal_are_turned_to_ascend_along_it() -> None:
    place = affine((2, 1, 1), slice_direction=(0, 0, -1))

    series = arranged(mr_series(head(), place))

    assert series.grid.affine_lps[2, 0] == pytest.approx(2)
    assert series.grid.affine_lps[2, 3] == pytest.approx(-46)


def test_the_step_is_measured_from_positions_not_thickness() -> None:
    series = arranged(mr_series(head(), affine((3, 1, 1)), SliceThickness="2", SpacingBetweenSlices="9"))

    assert series.grid.spacing_mm == pytest.approx((3, 1, 1))


def test_rounding_of_orientations_is_tolerated_and_one_is_used() -> None:
    datasets = mr_series(head(), PLACES["oblique"])
    noise = np.random.default_rng(1)
    for dataset in datasets[1:]:
        cosines = np.array(dataset.ImageOrientationPatient, float) + noise.uniform(-1e-4, 1e-4, 6)
        dataset.ImageOrientationPatient = fractions(cosines)

    series = arranged(datasets)

    np.testing.assert_allclose(series.grid.affine_lps, PLACES["oblique"], atol=1e-6)


def test_a_missing_slice_is_refused_with_its_place() -> None:
    datasets = mr_series(head(), affine((1.5, 1, 1)))

    with pytest.raises(
        MissingSlices, match=r"1 slice missing in 1 place, the first after slice 10 of 23.*1\.50 mm, came 3\.00"
    ):
        arranged(datasets[:10] + datasets[11:])


def test_a_plane_in_another_direction_is_refused() -> None:
    datasets = mr_series(head())
    datasets[4].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    with pytest.raises(MixedOrientations, match="2 orientations among 24 planes"):
        arranged(datasets)


def test_a_position_taken_twice_is_refused() -> None:
    datasets = mr_series(head())
    datasets[4].ImagePositionPatient = datasets[5].ImagePositionPatient

    with pytest.raises(DuplicatedPositions, match="1 of 24 planes"):
        arranged(datasets)


def test_two_echoes_in_one_series_are_refused_by_name() -> None:
    place, volumes = affine(), []
    for echo_time in (3.0, 8.0):
        volumes += mr_series(head(), place, SeriesInstanceUID="1.2.1", FrameOfReferenceUID="1.2.2", EchoTime=echo_time)

    with pytest.raises(DuplicatedPositions, match="2 volumes by echo time"):
        arranged(volumes)


def test_the_same_instance_twice_counts_once() -> None:
    datasets = mr_series(head())

    series = arranged(datasets + datasets[:3])

    assert len(series.planes) == 24


def test_a_sheared_stack_is_refused() -> None:
    tilted = affine((3, 1, 1), slice_direction=(0, np.sin(0.2), np.cos(0.2)))

    with pytest.raises(BadGeometry, match="sheared"):
        arranged(mr_series(head(), tilted))


def test_uneven_steps_are_refused() -> None:
    datasets = mr_series(head(), affine((3, 1, 1)))
    datasets[9].ImagePositionPatient = [0, 0, 27.9]

    with pytest.raises(BadGeometry, match="uneven steps: slice 10 of 24"):
        arranged(datasets)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImagePositionPatient": None}, "ImagePositionPatient .* missing"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient .* missing"),
        ({"ImagePositionPatient": ["NaN", "0", "0"]}, "finite"),
        ({"ImageOrientationPatient": ["NaN"] * 6}, "finite"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "perpendicular"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"PixelSpacing": [0, 1]}, "expected mm above 0"),
        ({"PixelSpacing": None}, "PixelSpacing .* missing"),
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID is missing"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "Siemens mosaic"),
        ({"NumberOfFrames": 4}, "4 frames and 1 positions"),
    ],
)
def test_geometry_that_is_absent_or_no_number_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadGeometry, match=words):
        arranged(mr_series(head(), **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Rows": 31}, "31 x 32"),
        ({"Columns": 30}, "32 x 30"),
        ({"PixelSpacing": [1.1, 1]}, "PixelSpacing differs"),
        ({"FrameOfReferenceUID": "1.2.3"}, "one FrameOfReferenceUID, came 2"),
        ({"SeriesInstanceUID": "1.2.3"}, "one SeriesInstanceUID, came 2"),
    ],
)
def test_one_slice_unlike_the_others_is_refused(changes: dict[str, Any], words: str) -> None:
    datasets = mr_series(head())
    for keyword, value in changes.items():
        setattr(datasets[7], keyword, value)

    with pytest.raises(BadGeometry, match=words):
        arranged(datasets)


def test_too_few_slices_are_refused_with_the_number_needed() -> None:
    with pytest.raises(TooFewSlices, match="at least 16 slices, came 15"):
        arranged(mr_series(head((15, 8, 8))))


def test_the_number_of_slices_needed_is_the_callers() -> None:
    assert len(arranged(mr_series(head((4, 8, 8))), min_slices=4).planes) == 4


@pytest.mark.parametrize("count", [0, 1])
def test_one_slice_is_never_a_volume(count: int) -> None:
    with pytest.raises(TooFewSlices):
        arranged(mr_series(head())[:count], min_slices=1)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_an_enhanced_instance_is_one_series_of_frames(place: np.ndarray) -> None:
    dataset = enhanced_mr(head(), place)

    series = arranged([dataset])

    assert len(series.headers) == 1
    assert [plane.frame_number for plane in series.planes] == list(range(1, 25))
    np.testing.assert_allclose(series.grid.affine_lps, place, atol=1e-6)


def test_the_magnitude_is_taken_from_magnitude_and_phase() -> None:
    series = arranged([enhanced_mr(head(), components=("PHASE", "MAGNITUDE"))])

    assert [plane.frame_number for plane in series.planes] == list(range(25, 49))


def test_two_magnitudes_at_one_place_are_refused() -> None:
    with pytest.raises(DuplicatedPositions, match="24 of 48"):
        arranged([enhanced_mr(head(), components=("MAGNITUDE", "MAGNITUDE"))])


def test_raw_data_in_an_image_series_are_left_out() -> None:
    datasets = mr_series(head())
    raw = Dataset()
    raw.SOPClassUID, raw.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66", "1.2.3.4"

    series = arranged([raw, *datasets])

    assert len(series.planes) == 24


def real(folder: Path, min_slices: int = 16) -> Series:
    """Arrange the one image series of a folder, as de-identification left it but for the frame of reference."""
    (instances,) = read_folder(folder).values()
    for instance in instances:
        if "FrameOfReferenceUID" not in instance.header:
            instance.header.FrameOfReferenceUID = "1.2.3"
    return arrange_instances(instances, min_slices)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        ("odd_dicom2nifti/failing/gantrytilting/001", BadGeometry, "sheared: .* 8.7 pixels"),
        ("odd_dicom2nifti/failing/notavolume/001", DuplicatedPositions, "3 of 4"),
        ("odd_dicom2nifti/failing/sliceincrement/001", MissingSlices, "after slice 3 of 4.*5.00 mm, came 10.00"),
        ("odd_dicom2nifti/failing/sliceincrement/002", MissingSlices, "after slice 3 of 4.*0.75 mm, came 1.50"),
        ("odd_dicom2nifti/failing/sliceorientation/001", MixedOrientations, "2 orientations"),
        ("odd_dicom2nifti/failing/slicecount/001", TooFewSlices, "at least 16 slices, came 2"),
        ("odd_dicom2nifti/ge/anatomical/001_single_slice", TooFewSlices, "came 1"),
        ("odd_dcmqa/siemens_mosaic/In", BadGeometry, "mosaic"),
        ("odd_dcmqa/canon_enhanced/In", DuplicatedPositions, "13 volumes by temporal position"),
    ],
)
def test_a_real_series_that_is_no_volume_is_refused_for_what_it_is(
    real_data: Path, case: str, error: type[BadGeometry], words: str
) -> None:
    with pytest.raises(error, match=words):
        real(real_data / case)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("case", "shape", "spacing_mm"),
    [
        ("remind_022_t1ce_seg/3DAXT1postcontrast_MRI", (176, 256, 248), (1.0, 0.977, 0.977)),
        ("philips_mprage_3t/In", (170, 256, 256), (1.0, 1.0, 1.0)),
        ("siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl", (96, 128, 128), (2.0, 2.0, 2.0)),
        ("ge_3d_irspgr_fruit/In", (196, 256, 256), (1.2, 1.055, 1.055)),
    ],
)
def test_a_real_series_is_one_volume(
    real_data: Path, case: str, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    series = real(real_data / case)

    assert series.grid.shape == shape
    assert series.grid.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)


@pytest.mark.real_data
def test_a_real_series_of_two_echoes_with_phase_is_refused_by_name(real_data: Path) -> None:
    series = read_folder(real_data / "philips_enh_multiframe" / "In")
    dual_echo = next(paths for paths in series.values() if any(i.header.get("NumberOfFrames") == 212 for i in paths))

    with pytest.raises(DuplicatedPositions, match="2 volumes by echo time"):
        arrange(instance.path for instance in dual_echo)


def test_a_series_that_stands_in_no_frame_of_reference_is_refused_for_that() -> None:
    with pytest.raises(NoFrameOfReference, match="nothing can be laid over"):
        arranged(mr_series(head(), FrameOfReferenceUID=None))
