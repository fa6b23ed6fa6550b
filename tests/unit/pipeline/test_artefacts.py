"""Motion, noise and a missing contrast agent show in figures; what cannot be measured has none."""

from functools import cache

import numpy as np
import pytest
from head_phantom import axial_grid, make_head, patient_affine
from spoiled import with_motion, with_noise

from vb_node.pipeline.artefacts import in_air, in_tissue
from vb_node.pipeline.atlas import place
from vb_node.pipeline.registration import Registration
from vb_node.pipeline.resample import field_of_view
from vb_node.types import Grid, Mask, Volume

REGISTRATION = Registration(patient_affine((4.0, -3.0, 6.0), (5.0, -8.0, 3.0)), 0.7, 0.7, 1.0)
GRID = axial_grid((2.0, 2.0, 2.0), (240, 260, 230))


@cache
def head() -> Volume:
    return make_head(REGISTRATION.atlas_from_patient, GRID).volume


@cache
def fine_head() -> Volume:
    """Make a head on 1 mm, as MRI-Processor has it, whose noise differs from voxel to voxel."""
    return make_head(REGISTRATION.atlas_from_patient, axial_grid((1.0, 1.0, 1.0), (190, 220, 180))).volume


def sinus(grid: Grid) -> Mask:
    """Mark a tube along the midline, behind the vertex and outside the brain."""
    depth_mm = place(REGISTRATION.atlas_from_patient, grid).depth_mm
    k, j, i = np.ogrid[tuple(slice(0, size) for size in grid.shape)]
    x, y, z = (
        row[0] * k + row[1] * j + row[2] * i + row[3] for row in REGISTRATION.atlas_from_patient[:3] @ grid.affine_lps
    )
    return np.asarray((np.abs(x) < 5) & (y > 30) & (z > -10) & (depth_mm > -8) & (depth_mm < 0))


def tissue(volume: Volume) -> dict[str, float]:
    placed = place(REGISTRATION.atlas_from_patient, volume.grid)
    return in_tissue(volume, placed, field_of_view(volume.grid, volume.grid), REGISTRATION)


def test_a_head_that_moves_shines_into_the_air() -> None:
    still, *moving = (in_air(with_motion(head(), mm), REGISTRATION)["ghosts"] for mm in (0.0, 2.0, 6.0))

    assert still < 0.01
    assert 2 * still < moving[0] < moving[1]
    assert moving[1] > 0.045


def test_noise_is_no_ghost() -> None:
    assert in_air(with_noise(head(), 30.0), REGISTRATION)["ghosts"] < 0.02


def test_ghosts_do_not_depend_on_the_scanners_units() -> None:
    moving = with_motion(head(), 3.0)
    brighter = Volume(moving.voxels * 40, GRID)

    assert in_air(brighter, REGISTRATION)["ghosts"] == pytest.approx(in_air(moving, REGISTRATION)["ghosts"], rel=0.01)


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_emptied_air_has_no_ghosts(value: float) -> None:
    emptied = np.where(head().voxels > 120, head().voxels, np.float32(value))

    assert in_air(Volume(emptied, GRID), REGISTRATION) == {}


def test_what_is_empty_where_the_brain_should_be_has_no_ghosts() -> None:
    assert in_air(Volume(np.zeros(GRID.shape, np.float32), GRID), REGISTRATION) == {}


def test_contrast_to_noise_falls_as_noise_grows() -> None:
    figures = [tissue(with_noise(fine_head(), deviation))["contrast_to_noise"] for deviation in (0.0, 60.0, 400.0)]

    assert figures == sorted(figures, reverse=True)
    assert figures[0] > 10
    assert figures[2] < 1.5


def test_contrast_agent_makes_the_sinus_brighter_than_white_matter() -> None:
    volume = fine_head()
    enhanced = Volume(np.where(sinus(volume.grid), np.float32(900), volume.voxels), volume.grid)
    dark = Volume(np.where(sinus(volume.grid), np.float32(150), volume.voxels), volume.grid)

    assert tissue(enhanced)["sinus_brightness"] > 1.2
    assert tissue(dark)["sinus_brightness"] < 0.9


def test_a_brain_without_its_skull_has_no_sinus() -> None:
    volume = fine_head()
    brain = place(REGISTRATION.atlas_from_patient, volume.grid).brain

    assert "sinus_brightness" not in tissue(Volume(np.where(brain, volume.voxels, np.float32(0)), volume.grid))


def test_a_field_of_view_without_white_matter_has_no_figures_of_tissue() -> None:
    volume = fine_head()
    placed = place(REGISTRATION.atlas_from_patient, volume.grid)

    assert in_tissue(volume, placed, np.zeros(volume.grid.shape, np.bool_), REGISTRATION) == {}
