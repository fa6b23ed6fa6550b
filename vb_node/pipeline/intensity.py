"""Intensities -> scores that do not depend on the scanner."""

import numpy as np

from vb_node.types import Floats, Mask


def z_score(voxels: Floats, brain: Mask) -> Floats:
    """Clip to the 0.5-99.5 percentile of the brain, centre and scale by median and interquartile range, 0 outside.

    For normal values this is the z-score; a lesion moves mean and standard deviation, but hardly the quartiles.
    """
    inside = voxels[brain]
    low, first, middle, third, high = np.percentile(inside, (0.5, 25, 50, 75, 99.5))
    deviation = max((third - first) / 1.349, 1e-6)
    scored = np.zeros(voxels.shape, dtype=np.float32)
    scored[brain] = (np.clip(inside, low, high) - middle) / deviation
    return scored
