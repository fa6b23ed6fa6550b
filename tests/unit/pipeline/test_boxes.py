"""A box cut out of a volume stands where it stood, and distances in it are those of the library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vb_node.pipeline.brain import _within
from vb_node.pipeline.crop import bounding_box, crop_grid, paste
from vb_node.types import Grid


def test_a_box_is_as_wide_as_asked_and_ends_at_the_walls() -> None:
    mask = np.zeros((6, 8, 9), np.bool_)
    mask[1, 4:6, 8] = True

    assert bounding_box(mask, margin=2) == (slice(0, 4), slice(2, 8), slice(6, 9))


def test_what_was_cut_out_stands_where_it_stood() -> None:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (
        Rotation.from_euler("x", 20, degrees=True).as_matrix() * [1.0, 2.0, 3.0],
        (5.0, -6.0, 7.0),
    )
    grid = Grid((6, 8, 9), affine, "1.2.3")
    where = (slice(1, 5), slice(2, 4), slice(0, 9))

    cropped = crop_grid(grid, where)
    back = paste(np.ones(cropped.shape, np.float32), where, grid.shape, outside=-1)

    assert cropped.shape == (4, 2, 9)
    assert cropped.to_lps(np.array([[2, 1, 3]])) == pytest.approx(grid.to_lps(np.array([[3, 3, 3]])))
    assert (back[where] == 1).all()
    assert back.sum() == 4 * 2 * 9 - (6 * 8 * 9 - 4 * 2 * 9)


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=12)), st.sampled_from([6, 36, 42, 127])
)
def test_what_lies_within_a_distance_is_what_a_map_of_all_distances_says(mask: NDArray[np.bool_], squared: int) -> None:
    expected = ndimage.distance_transform_edt(~mask) ** 2 <= squared + 1e-6 if mask.any() else np.zeros_like(mask)

    assert np.array_equal(_within(mask, squared), expected)
