"""A head that moves leaves ghosts in the air, the more the farther it moves; what is labelled stays where it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vb_node.training.motion import moved
from vb_node.training.phantom import PhantomCase, make_case

MM = (1.0, 2.0)


def a_head() -> NDArray[np.float32]:
    k, j, i = np.indices((4, 80, 60))
    head = (((j - 42) / 30) ** 2 + ((i - 28) / 18) ** 2 < 1).astype(np.float32)
    head[(np.abs(j - 50) < 3) & (np.abs(i - 20) < 3)] = 3
    return head


@pytest.mark.parametrize("seed", range(4))
def test_ghosts_grow_with_the_motion(seed: int) -> None:
    head = a_head()

    ghosts = [moved(head, MM, mm, np.random.default_rng(seed))[head == 0].mean() for mm in (0.0, 0.5, 2.0, 6.0)]

    assert ghosts[0] < 1e-5
    assert ghosts == sorted(ghosts)
    assert ghosts[-1] > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_what_is_bright_stays_where_it_is(seed: int) -> None:
    head = a_head()

    after = moved(head, MM, 2.0, np.random.default_rng(seed))

    was, now = (np.argwhere(one > 0.7 * one.max())[:, 1:].mean(axis=0) for one in (head, after))
    assert np.abs(was - now).max() < 1.5
    assert after.sum() == pytest.approx(head.sum(), rel=0.2)


def test_a_phantom_that_moves_is_the_same_head_otherwise(thick_lymphoma: PhantomCase) -> None:
    moving, again = (make_case(4, "PCNSL", "thick", motion_mm=2.0) for _ in range(2))

    assert np.array_equal(moving.volume.voxels, again.volume.voxels)
    assert np.array_equal(moving.labels, thick_lymphoma.labels)
    assert np.array_equal(moving.volume.grid.affine_lps, thick_lymphoma.volume.grid.affine_lps)
    air = (thick_lymphoma.volume.voxels < np.percentile(thick_lymphoma.volume.voxels, 40)) & ~thick_lymphoma.brain
    assert moving.volume.voxels[air].mean() > 1.1 * thick_lymphoma.volume.voxels[air].mean()
