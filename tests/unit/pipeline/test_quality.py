"""What is no head, or too little of one, is refused in words a reader understands."""

import numpy as np
import pytest
from head_phantom import axial_grid
from numpy.typing import NDArray

from vb_node.errors import Motion, NoBrain, NoContrast, OutOfCoverage, Unfit
from vb_node.pipeline.quality import check_contrast, check_extent, check_registration, check_values, flags
from vb_node.pipeline.registration import Registration, register
from vb_node.types import Volume

GRID = axial_grid((2.0, 2.0, 2.0), (180, 220, 180))
Z, Y, X = np.moveaxis(GRID.to_lps(np.indices(GRID.shape).reshape(3, -1).T).reshape(*GRID.shape, 3), -1, 0)[::-1]


def with_noise(voxels: NDArray[np.float64]) -> Volume:
    noise = np.random.default_rng(0).normal(0, 15, GRID.shape)
    return Volume(np.abs(voxels + noise).astype(np.float32), GRID)


def ellipsoid(a_mm: float, b_mm: float, c_mm: float) -> NDArray[np.float64]:
    return np.sqrt((X / a_mm) ** 2 + (Y / b_mm) ** 2 + (Z / c_mm) ** 2)


def knee() -> NDArray[np.float64]:
    leg, fat = np.hypot(X / 65, Y / 70), np.hypot(X / 58, Y / 62)
    bone, cortex = np.hypot(X / 32, Y / 30), np.hypot(X / 35, Y / 33)
    tissue = np.where(leg < 1, np.where(fat > 1, 1000, 350), 0)
    return np.where((bone < 1) & (np.abs(Z) > 4), 900, np.where(cortex < 1, 60, tissue)).astype(float)


NON_HEADS = {
    "sphere": 800.0 * (ellipsoid(80, 80, 80) < 1),
    "cylinder": 800.0 * ((np.hypot(X / 70, Y / 70) < 1) & (np.abs(Z) < 80)),
    "ellipsoid with a bright rim": 600.0 * (ellipsoid(68, 88, 72) < 1)
    + 1200.0 * ((ellipsoid(68, 88, 72) > 1.12) & (ellipsoid(68, 88, 72) < 1.22)),
    "box": 800.0 * ((np.abs(X) < 65) & (np.abs(Y) < 80) & (np.abs(Z) < 60)),
    "knee": knee(),
    "noise": np.random.default_rng(1).uniform(0, 1000, GRID.shape),
}


@pytest.mark.parametrize("name", NON_HEADS)
def test_what_is_no_head_is_refused_as_no_brain(name: str) -> None:
    registration = register(with_noise(NON_HEADS[name]))

    with pytest.raises(NoBrain, match="no brain: "):
        check_registration(registration, {})


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_volume_is_no_brain(value: float) -> None:
    with pytest.raises(NoBrain, match="no brain: "):
        check_values(Volume(np.full((20, 20, 20), value, dtype=np.float32), GRID))


def test_a_volume_without_numbers_is_unfit() -> None:
    with pytest.raises(Unfit, match="without a number"):
        check_values(Volume(np.full((20, 20, 20), np.nan, dtype=np.float32), GRID))


def test_a_single_voxel_without_a_number_is_mended() -> None:
    voxels = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    voxels[3, 4, 5] = np.inf

    assert np.isfinite(check_values(Volume(voxels, GRID)).voxels).all()


def test_a_slab_is_out_of_coverage() -> None:
    with pytest.raises(OutOfCoverage, match="covers 40 mm"):
        check_extent(axial_grid((2.0, 1.0, 1.0), (40, 240, 240)))


def test_half_a_brain_is_out_of_coverage() -> None:
    with pytest.raises(OutOfCoverage, match="50%"):
        check_registration(Registration(np.eye(4), 0.7, 0.7, 0.5), {})


def test_thick_slices_and_a_cut_brain_are_flagged() -> None:
    grid = axial_grid((6.5, 0.8, 0.8), (130, 200, 200))

    assert flags(grid, {"coverage": 0.9}) == ("thick slices (6.5 mm)", "field of view cuts the brain")


def test_a_head_that_is_not_recognised_among_its_ghosts_has_moved() -> None:
    blurred = Registration(np.eye(4), 0.45, 0.17, 1.0)

    with pytest.raises(Motion, match="the head moved"):
        check_registration(blurred, {"ghosts": 0.1})
    with pytest.raises(NoBrain):
        check_registration(blurred, {"ghosts": 0.06})
    with pytest.raises(NoBrain):
        check_registration(blurred, {})


def test_what_does_not_look_like_a_head_has_not_moved_but_is_none() -> None:
    with pytest.raises(NoBrain):
        check_registration(Registration(np.eye(4), 0.2, 0.02, 1.0), {"ghosts": 0.5})


def test_a_head_that_is_recognised_among_its_ghosts_is_let_pass_and_flagged() -> None:
    check_registration(Registration(np.eye(4), 0.6, 0.5, 1.0), {"ghosts": 0.1})

    assert flags(GRID, {"coverage": 1.0, "ghosts": 0.1}) == ("ghosts about the head: it may have moved",)


def test_tissues_drowned_in_noise_are_refused_as_without_contrast() -> None:
    with pytest.raises(NoContrast, match="1.02 standard deviations of the noise"):
        check_contrast({"contrast_to_noise": 1.02})
    check_contrast({"contrast_to_noise": 3.0})
    check_contrast({})

    assert flags(GRID, {"coverage": 1.0, "contrast_to_noise": 3.0}) == ("much noise",)


def test_a_dark_sinus_is_flagged() -> None:
    dark, bright = ({"coverage": 1.0, "sinus_brightness": brightness} for brightness in (0.66, 1.5))

    assert flags(GRID, dark) == ("no contrast agent seen in the superior sagittal sinus",)
    assert flags(GRID, bright) == ()
