"""Voxels in their places."""

from pathlib import Path

import numpy as np
import pytest
from factories import AXIAL, CORONAL, SAGITTAL, affine, enhanced_mr, head, mr_series, turned, write
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from vb_node.dicom import volume
from vb_node.dicom.volume import load_series
from vb_node.errors import MissingSlices, MixedOrientations, UnreadablePixels


@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, CORONAL, turned(31)], ids=["axial", "sagittal", "coronal", "oblique"]
)
@pytest.mark.parametrize("transfer_syntax_uid", [ExplicitVRLittleEndian, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_a_series_comes_back_as_the_volume_it_was_made_of(
    tmp_path: Path, orientation: np.ndarray, transfer_syntax_uid: str
) -> None:
    place = affine((2, 0.9, 0.8), orientation, (-50, 10, 7))
    paths = write(mr_series(head(), place), tmp_path, transfer_syntax_uid)

    series, read = load_series(sorted(paths))

    np.testing.assert_array_equal(read.voxels, head())
    np.testing.assert_allclose(read.grid.affine_lps, place, atol=1e-6)
    assert read.grid is series.grid
    assert read.voxels.dtype == np.float32


def test_a_bright_voxel_stands_where_its_header_says(tmp_path: Path) -> None:
    voxels = np.zeros((20, 8, 9), np.int16)
    voxels[13, 2, 5] = 100
    datasets = mr_series(voxels, affine((3, 2, 1), SAGITTAL, (-30, -40, 50)))

    _, read = load_series(write(datasets[::-1], tmp_path))

    k, j, i = np.argwhere(read.voxels == 100)[0]
    np.testing.assert_allclose(read.grid.to_lps(np.array([[k, j, i]])), [[-30 - 39, -40 + 5, 50 - 4]])


@pytest.mark.parametrize("transfer_syntax_uid", [ExplicitVRLittleEndian, RLELossless], ids=lambda uid: uid.name)
def test_the_magnitude_frames_of_an_enhanced_instance_are_read(tmp_path: Path, transfer_syntax_uid: str) -> None:
    dataset = enhanced_mr(head(), components=("PHASE", "MAGNITUDE"))
    stored = np.frombuffer(dataset.PixelData, np.int16).reshape(48, 32, 32).copy()
    stored[:24] = -1
    dataset.PixelData = stored.tobytes()

    _, read = load_series(write([dataset], tmp_path, transfer_syntax_uid))

    np.testing.assert_array_equal(read.voxels, head())


def test_a_localizer_in_the_series_is_left_out(tmp_path: Path) -> None:
    datasets = mr_series(head())
    scout = mr_series(head()[:1], affine(orientation=SAGITTAL), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[0]
    scout.SeriesInstanceUID, scout.FrameOfReferenceUID = datasets[0].SeriesInstanceUID, datasets[0].FrameOfReferenceUID

    series, read = load_series(write([scout, *datasets], tmp_path))

    assert len(series.planes) == 24
    np.testing.assert_array_equal(read.voxels, head())


def test_a_plane_in_another_direction_that_is_no_localizer_is_refused(tmp_path: Path) -> None:
    datasets = mr_series(head())
    datasets[23].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    with pytest.raises(MixedOrientations):
        load_series(write(datasets, tmp_path))


def test_a_gap_is_refused_before_any_pixel_is_read(tmp_path: Path) -> None:
    datasets = mr_series(head(), PhotometricInterpretation="RGB")
    del datasets[7]

    with pytest.raises(MissingSlices):
        load_series(write(datasets, tmp_path))


def test_an_absurd_volume_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(mr_series(head()), tmp_path)
    monkeypatch.setattr(volume, "MAX_VOXELS", 24 * 32 * 32 - 1)

    with pytest.raises(UnreadablePixels, match="at most 24575 voxels"):
        load_series(paths)
