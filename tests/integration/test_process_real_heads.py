"""Real heads are standardised, a real fruit is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from vb_node.applications.virtual_biopsy.process import SHAPE, process
from vb_node.errors import NoBrain
from vb_node.pipeline.resample import soft_mask
from vb_node.types import Grid, StandardVolume, Volume

pytestmark = pytest.mark.real_data

BTP_SPACING_MM = (0.94, 0.94, 6.5)
"""The collection's usual spacing: these files have lost theirs."""


def to_volume(image: SimpleITK.Image) -> Volume:
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Volume(voxels, Grid(voxels.shape, affine, "1.2.3"))


def series(folder: Path) -> Volume:
    return to_volume(SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))))


def spaced(path: Path) -> Volume:
    image = SimpleITK.ReadImage(str(path))
    image.SetSpacing(BTP_SPACING_MM)
    return to_volume(image)


def multiframe(folder: Path) -> Volume:
    return to_volume(SimpleITK.ReadImage(str(next(folder.iterdir()))))


HEADS: dict[str, Callable[[Path], Volume]] = {
    "oblique T1CE, defaced": lambda root: series(root / "remind_022_t1ce_seg/3DAXT1postcontrast_MRI"),
    "sagittal with neck": lambda root: series(root / "philips_mprage_3t/In/cl"),
    "thick slices": lambda root: to_volume(SimpleITK.ReadImage(str(root / "t1ce_thick_nrrd/brain1_image.nrrd"))),
    "treated glioblastoma": lambda root: spaced(root / "btp_gbm_nifti/01/Pre_Scan_T1.nii.gz"),
    "strong shading": lambda root: multiframe(root / "siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl"),
}


@pytest.fixture(scope="module", params=HEADS)
def head(request: pytest.FixtureRequest, real_data: Path) -> tuple[Volume, StandardVolume]:
    volume = HEADS[request.param](real_data)
    return volume, process(volume)


def test_a_real_head_passes_the_gate_with_margin(head: tuple[Volume, StandardVolume]) -> None:
    _, standard = head

    assert standard.voxels.shape == SHAPE
    assert standard.quality["anatomy"] > 0.35
    assert standard.quality["likeness"] > 0.4
    assert 1000 < standard.quality["brain_ml"] < 1800


def test_a_real_head_is_scored_inside_its_brain_alone(head: tuple[Volume, StandardVolume]) -> None:
    _, standard = head

    inside = standard.voxels[standard.brain]

    assert abs(float(np.median(inside))) < 0.01
    assert float(np.subtract(*np.percentile(inside, (75, 25)))) == pytest.approx(1.349, rel=0.01)
    assert not standard.voxels[~standard.brain].any()


def test_a_voxel_of_a_real_head_comes_back_to_its_place(head: tuple[Volume, StandardVolume]) -> None:
    volume, standard = head
    centre_lps = standard.grid.to_lps(np.argwhere(standard.brain).mean(axis=0))
    place = tuple(np.round(volume.grid.to_index(centre_lps)).astype(int))
    delta = np.zeros(volume.grid.shape, dtype=np.float32)
    delta[place] = 1

    back = soft_mask(soft_mask(delta, volume.grid, standard.grid), standard.grid, volume.grid)

    assert np.abs(np.array(np.unravel_index(back.argmax(), back.shape)) - place).max() <= 1


def test_the_experts_lesion_lies_in_the_brain_of_the_thick_head(real_data: Path) -> None:
    root = real_data / "t1ce_thick_nrrd"
    label = to_volume(SimpleITK.ReadImage(str(root / "brain1_label.nrrd")))

    standard = process(to_volume(SimpleITK.ReadImage(str(root / "brain1_image.nrrd"))))

    lesion = soft_mask(label.voxels > 0, label.grid, standard.grid) > 0.5
    assert np.count_nonzero(lesion & standard.brain) > 0.9 * np.count_nonzero(lesion)
    assert "thick slices (6.5 mm)" in standard.flags


def test_a_fruit_is_no_brain(real_data: Path) -> None:
    with pytest.raises(NoBrain, match="no brain: "):
        process(series(real_data / "ge_3d_irspgr_fruit/In"))
