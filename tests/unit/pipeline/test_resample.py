"""Voxels and masks travel between grids without losing their place or their volume."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vb_node.pipeline.resample import (
    bin_voxels,
    box_grid,
    field_of_view,
    labels_to_grid,
    mask_to_grid,
    soft_mask,
    to_grid,
)
from vb_node.types import Grid, Volume


def oblique_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    turn = Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, ::-1] * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine, "1.2.3")


def ball(grid: Grid, centre_lps: NDArray[np.float64], radius_mm: float) -> NDArray[np.bool_]:
    index = np.indices(grid.shape).reshape(3, -1).T
    return (np.linalg.norm(grid.to_lps(index) - centre_lps, axis=1) < radius_mm).reshape(grid.shape)


STANDARD = Grid((80, 90, 80), np.array([[0, 0, 1, -40], [0, 1, 0, -45], [1, 0, 0, -40], [0, 0, 0, 1.0]]), "1.2.3")


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.98, 0.98), (6.5, 0.78, 0.78), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5)])
def test_a_delta_voxel_comes_back_within_one_voxel(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(int(60 / step) for step in spacing_mm)
    source = oblique_grid((shape[0], shape[1], shape[2]), spacing_mm)
    place = tuple(size // 3 for size in source.shape)
    delta = np.zeros(source.shape, dtype=np.float32)
    delta[place] = 1

    there = soft_mask(delta, source, STANDARD)
    back = soft_mask(there, STANDARD, source)

    assert np.abs(np.array(np.unravel_index(back.argmax(), back.shape)) - place).max() <= 1


@pytest.mark.parametrize("times", [(1, 2, 2), (3, 2, 1)])
def test_what_was_interpolated_is_binned_to_what_it_was(times: tuple[int, int, int]) -> None:
    grid = oblique_grid((7, 8, 9), (1.0, 1.0, 1.0))
    voxels = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    affine = grid.affine_lps.copy()
    affine[:3, :3] /= times
    affine[:3, 3] = grid.to_lps((np.array([times]) ** -1.0 - 1) / 2)[0]
    finer = np.kron(voxels, np.ones(times, np.float32))
    finer = np.pad(finer, ((0, times[0] - 1), (0, times[1] - 1), (0, 0)))  # what fills no whole voxel is left out

    binned = bin_voxels(Volume(finer, Grid(finer.shape, affine, "1.2.3")), 1.0)

    assert binned.voxels == pytest.approx(voxels, abs=1e-6)
    assert binned.grid.affine_lps == pytest.approx(grid.affine_lps)


def test_voxels_of_which_no_two_fit_into_a_step_stay_as_they_are() -> None:
    volume = Volume(np.ones((4, 4, 4), np.float32), oblique_grid((4, 4, 4), (3.0, 0.6, 0.6)))

    assert bin_voxels(volume, 1.0) is volume


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (6.5, 0.78, 0.78), (3.0, 3.0, 3.0)])
def test_a_soft_mask_keeps_its_volume(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(int(70 / step) for step in spacing_mm)
    target = oblique_grid((shape[0], shape[1], shape[2]), spacing_mm)
    lesion = ball(STANDARD, np.array([3.0, -4.0, 5.0]), 6.0)

    carried = soft_mask(lesion, STANDARD, target)

    assert carried.sum() * target.voxel_mm3 == pytest.approx(lesion.sum() * STANDARD.voxel_mm3, rel=0.04)


# The bounds that docs/results.md states: of a lesion of 1 mL and more.
VOLUME_ERROR = {(1.0, 1.0, 1.0): 0.001, (1.0, 0.5, 0.5): 0.001, (3.0, 0.9, 0.9): 0.01, (6.5, 0.9, 0.9): 0.05}


@pytest.mark.parametrize(("spacing_mm", "most"), VOLUME_ERROR.items(), ids=map(str, VOLUME_ERROR))
def test_lesions_keep_their_volume_on_the_grid_of_the_source(spacing_mm: tuple[float, ...], most: float) -> None:
    k, j, i = spacing_mm
    target = oblique_grid((int(90 / k), int(90 / j), int(90 / i)), (k, j, i))
    labels = np.zeros(STANDARD.shape, np.uint8)
    for label, (centre, radius_mm) in enumerate((((15.3, -4.0, 5.0), 6.3), ((-14.0, 2.0, -9.0), 9.1)), start=1):
        labels[ball(STANDARD, np.array(centre), radius_mm)] = label

    carried = labels_to_grid(labels, STANDARD, target)

    for label in (1, 2):
        volume_mm3 = (carried == label).sum() * target.voxel_mm3
        assert volume_mm3 == pytest.approx((labels == label).sum(), rel=most)


@pytest.mark.parametrize("gap_mm", [0.5, 2.0, 4.0])
def test_a_small_lesion_beside_a_large_one_keeps_its_volume_in_thick_slices(gap_mm: float) -> None:
    target = oblique_grid((14, 100, 100), (6.5, 0.9, 0.9))
    labels = np.zeros(STANDARD.shape, np.uint8)
    labels[ball(STANDARD, np.array([0.0, 0.0, -12.0]), 12.0)] = 1
    labels[ball(STANDARD, np.array([0.0, 0.0, 5.0 + gap_mm]), 5.0)] = 2

    carried = labels_to_grid(labels, STANDARD, target)

    for label in (1, 2):
        volume_mm3 = (carried == label).sum() * target.voxel_mm3
        assert volume_mm3 == pytest.approx((labels == label).sum(), rel=0.1)


def test_a_small_lesion_does_not_vanish_on_a_coarse_grid() -> None:
    coarse = oblique_grid((9, 9, 9), (8.0, 8.0, 8.0))
    lesion = ball(STANDARD, np.array([2.0, 2.0, 2.0]), 2.0)

    carried = soft_mask(lesion, STANDARD, coarse)

    assert carried.sum() * coarse.voxel_mm3 == pytest.approx(lesion.sum(), rel=0.1)


def test_a_mask_that_goes_there_and_back_keeps_its_overlap() -> None:
    source = oblique_grid((70, 70, 70), (1.0, 0.9, 0.9))
    lesion = ball(STANDARD, np.array([0.0, 3.0, -2.0]), 9.0)

    back = mask_to_grid(mask_to_grid(lesion, STANDARD, source), source, STANDARD)

    assert 2 * np.count_nonzero(back & lesion) / (back.sum() + lesion.sum()) > 0.95


def test_a_sheared_grid_is_read_where_its_affine_says() -> None:
    affine = np.array([[0, 0, 1, 0], [0.3, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    tilted = Grid((20, 20, 20), affine, "1.2.3")
    target = Grid((20, 30, 20), np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]), "1.2.3")
    voxels = np.zeros(tilted.shape, dtype=np.float32)
    voxels[10, 5, 7] = 1

    carried = to_grid(Volume(voxels, tilted), target).voxels

    assert np.unravel_index(carried.argmax(), carried.shape) == (10, 8, 7)


def test_the_field_of_view_ends_half_a_voxel_beyond_the_outer_centres() -> None:
    source = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]), "1.2.3")
    target = Grid((12, 12, 12), np.array([[1, 0, 0, -3], [0, 1, 0, -3], [0, 0, 1, -3], [0, 0, 0, 1.0]]), "1.2.3")

    inside = field_of_view(source, target)

    assert np.flatnonzero(inside.any(axis=(1, 2))).tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_a_box_grid_holds_every_corner() -> None:
    source = oblique_grid((10, 60, 60), (6.5, 1.0, 1.0))

    box = box_grid(source, 2.0)

    corners = np.array([[0, 0, 0], [9, 59, 59], [0, 59, 0], [9, 0, 59]])
    index = box.to_index(source.to_lps(corners))
    assert (index > -0.5).all()
    assert (index < np.array(box.shape) - 0.5).all()
