"""Scores do not depend on the scanner, and a lesion does not move them."""

import numpy as np
from numpy.random import default_rng

from vb_node.pipeline.intensity import z_score

SHAPE = (20, 24, 22)


def test_scale_and_offset_of_the_scanner_do_not_matter() -> None:
    voxels = default_rng(0).gamma(4, 100, SHAPE).astype(np.float32)
    brain = default_rng(1).random(SHAPE) > 0.5

    assert np.allclose(z_score(voxels, brain), z_score(3 * voxels + 50, brain), atol=1e-3)


def test_normal_values_get_their_z_score_and_the_background_is_0() -> None:
    voxels = default_rng(0).normal(500, 40, SHAPE).astype(np.float32)
    brain = np.zeros(SHAPE, np.bool_)
    brain[2:-2] = True

    scored = z_score(voxels, brain)

    assert abs(scored[brain].mean()) < 0.05
    assert abs(scored[brain].std() - 1) < 0.05
    assert not scored[~brain].any()


def test_a_bright_lesion_hardly_moves_the_score_of_healthy_tissue() -> None:
    healthy = default_rng(0).normal(500, 40, SHAPE).astype(np.float32)
    diseased = healthy.copy()
    diseased[:2] = 1500
    brain = np.ones(SHAPE, np.bool_)

    shift = z_score(diseased, brain)[2:] - z_score(healthy, brain)[2:]

    assert np.abs(shift[np.abs(shift) < 3]).mean() < 0.25


def test_a_constant_image_gives_no_infinite_score() -> None:
    brain = np.ones(SHAPE, np.bool_)

    assert np.isfinite(z_score(np.full(SHAPE, 7, np.float32), brain)).all()
