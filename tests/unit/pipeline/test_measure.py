"""Sizes are right in mm on any grid; side and site follow the atlas."""

import numpy as np
import pytest
from factories import AXIAL, affine, turned

from vb_node.pipeline.measure import measure
from vb_node.types import Finding, Grid, Labels, Region

SHAPE = (40, 48, 56)
IN_PLACE = np.eye(4)


def _grid(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), degrees: float = 0.0) -> Grid:
    return Grid(SHAPE, affine(spacing, turned(degrees, AXIAL)), "1.2.3")


def _ball(grid: Grid, radius_mm: float, label: int = 1) -> Labels:
    index = np.argwhere(np.ones(SHAPE, np.bool_))
    centre = grid.to_lps((np.array(SHAPE)[None] - 1) / 2)
    inside = np.linalg.norm(grid.to_lps(index) - centre, axis=1) <= radius_mm
    return (inside.reshape(SHAPE) * label).astype(np.uint8)


def _only(labels: Labels, grid: Grid) -> Finding:
    (found,) = measure(labels, grid, [Region(1, 0.8, 1.0, (0, 0, 0), (0, 0, 0))], IN_PLACE)
    return found


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 0.9)])
@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_a_ball_has_the_size_of_a_ball_on_any_grid(spacing: tuple[float, float, float], degrees: float) -> None:
    grid = _grid(spacing, degrees)

    found = _only(_ball(grid, 12.0), grid)

    assert found.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)
    assert found.diameter_mm == pytest.approx(24, abs=2)
    assert found.long_axis_mm == pytest.approx(24, abs=1.5)
    assert found.short_axis_mm == pytest.approx(24, abs=2)


def test_axes_are_taken_in_the_slice_with_the_largest_area() -> None:
    grid, labels = _grid((2.0, 1.0, 1.0)), np.zeros(SHAPE, np.uint8)
    labels[10, 10:14, 10:40] = 1
    labels[11, 10:30, 10:30] = 1

    found = _only(labels, grid)

    assert found.long_axis_mm == pytest.approx(20 * 2**0.5, abs=1.5)


def test_the_short_axis_is_the_width_across_the_long_axis() -> None:
    grid, labels = _grid((1.0, 2.0, 0.5)), np.zeros(SHAPE, np.uint8)
    labels[5, 10:22, 10:16] = 1

    found = _only(labels, grid)

    assert found.long_axis_mm == pytest.approx(24, abs=1)
    assert found.short_axis_mm == pytest.approx(3, abs=0.6)


def test_one_voxel_is_as_long_as_its_longest_edge() -> None:
    grid, labels = _grid((3.0, 1.0, 1.0)), np.zeros(SHAPE, np.uint8)
    labels[7, 8, 9] = 1

    found = _only(labels, grid)

    assert (found.volume_mm3, found.diameter_mm) == pytest.approx((3.0, 3.0))
    assert (found.long_axis_mm, found.short_axis_mm) == pytest.approx((1.0, 1.0))


def test_lesions_that_touch_the_edge_are_measured() -> None:
    grid, labels = _grid(), np.zeros(SHAPE, np.uint8)
    labels[:2, :3, :4] = 1

    found = _only(labels, grid)

    assert found.volume_mm3 == 24


def test_each_label_that_is_left_is_a_finding_with_its_own_score() -> None:
    grid, labels = _grid(), np.zeros(SHAPE, np.uint8)
    labels[3:6, 3:6, 3:6], labels[20:24, 20:24, 20:24] = 3, 1
    regions = [Region(label, label / 10, 1.0, (0, 0, 0), (0, 0, 0)) for label in (1, 2, 3)]

    found = measure(labels, grid, regions, IN_PLACE)

    assert [(one.label, one.score, int(one.mask.sum())) for one in found] == [(1, 0.1, 64), (3, 0.3, 27)]


def test_no_label_is_no_finding() -> None:
    assert measure(np.zeros(SHAPE, np.uint8), _grid(), [], IN_PLACE) == []


@pytest.mark.parametrize(("x_lps", "side"), [(40.0, "left"), (-40.0, "right"), (0.0, "midline")])
def test_the_side_is_the_patients_whatever_the_grid(x_lps: float, side: str) -> None:
    grid = _grid(degrees=30.0)
    labels = _ball(grid, 6.0)
    moved = np.eye(4)
    moved[:3, 3] = [x_lps, 20, 20] - grid.to_lps((np.array(SHAPE)[None] - 1) / 2)[0]

    (found,) = measure(labels, grid, [], moved)

    assert found.laterality == side


def test_the_site_is_where_the_voxels_are_and_not_their_centre() -> None:
    grid, labels = _grid(), np.zeros(SHAPE, np.uint8)
    labels[18:22, 22:26, :4], labels[18:22, 22:26, -4:] = 1, 1
    twice = np.diag([2.0, 2.0, 2.0, 1.0])
    twice[:3, 3] = [0, 20, -10] - 2 * grid.to_lps((np.array(SHAPE)[None] - 1) / 2)[0]

    (found,) = measure(labels, grid, [], twice)

    # the centre is in the midbrain
    assert (found.laterality, found.site) == ("midline", "temporal lobe")
