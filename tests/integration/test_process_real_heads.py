"""Real heads are standardised, a real fruit is not."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from real_heads import HEADS, series, to_volume
from spoiled import with_motion, with_noise

from vb_node.applications.virtual_biopsy.process import SHAPE, process
from vb_node.errors import Motion, NoBrain, NoContrast
from vb_node.pipeline.resample import soft_mask
from vb_node.types import StandardVolume, Volume

pytestmark = pytest.mark.real_data


@cache
def standardised(name: str, root: Path) -> StandardVolume:
    return process(HEADS[name](root))


@pytest.fixture(scope="module", params=HEADS)
def head(request: pytest.FixtureRequest, real_data: Path) -> tuple[Volume, StandardVolume]:
    return HEADS[request.param](real_data), standardised(request.param, real_data)


def test_a_real_head_passes_the_gate_with_margin(head: tuple[Volume, StandardVolume]) -> None:
    _, standard = head

    assert standard.voxels.shape == SHAPE
    assert standard.quality["anatomy"] > 0.35
    assert standard.quality["likeness"] > 0.4
    assert 1000 < standard.quality["brain_ml"] < 1800
    assert standard.quality["ghosts"] < 0.04
    assert standard.quality["contrast_to_noise"] > 10


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

    standard = standardised("thick slices", real_data)

    lesion = soft_mask(label.voxels > 0, label.grid, standard.grid) > 0.5
    assert np.count_nonzero(lesion & standard.brain) > 0.9 * np.count_nonzero(lesion)
    assert "thick slices (6.5 mm)" in standard.flags


def test_a_real_head_without_contrast_agent_is_flagged(real_data: Path) -> None:
    standard = standardised("sagittal with neck", real_data)

    assert standard.flags == ("no contrast agent seen in the superior sagittal sinus",)


@pytest.mark.parametrize("name", ["thick slices", "treated glioblastoma"])
def test_a_real_head_that_moved_is_refused_for_that(real_data: Path, name: str) -> None:
    volume = HEADS[name](real_data)

    with pytest.raises(Motion, match="the head moved"):
        process(with_motion(volume, 8.0))


def test_a_real_head_drowned_in_noise_is_refused_for_that(real_data: Path) -> None:
    volume = HEADS["treated glioblastoma"](real_data)

    with pytest.raises(NoContrast, match="no contrast"):
        process(with_noise(volume, 0.5 * float(np.percentile(volume.voxels, 90))))


def test_a_fruit_is_no_brain(real_data: Path) -> None:
    with pytest.raises(NoBrain, match="no brain: "):
        process(series(real_data / "ge_3d_irspgr_fruit/In"))
