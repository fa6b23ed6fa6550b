"""Heads as a bad scan has them: moved, or drowned in noise; always in the same way."""

import numpy as np

from vb_node.training.motion import moved
from vb_node.types import Volume


def with_motion(volume: Volume, motion_mm: float) -> Volume:
    """Take a head that moves while it is scanned."""
    rng = np.random.default_rng(5)
    return Volume(moved(volume.voxels, volume.grid.spacing_mm[1:], motion_mm, rng), volume.grid)


def with_noise(volume: Volume, deviation: float) -> Volume:
    """Add Rician noise of a deviation in the image's own units."""
    real, imaginary = np.random.default_rng(5).normal(0, deviation, (2, *volume.grid.shape))
    return Volume(np.hypot(volume.voxels + real, imaginary).astype(np.float32), volume.grid)
