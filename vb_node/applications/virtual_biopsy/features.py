"""The nine features of a voxel for block 2 of Tumor-Localizer: abnormal signal and asymmetry, and never its place.

Raw coordinates would let the classifier learn the prior by heart (docs/virtual-biopsy-localizer.md).
"""

import numpy as np
from scipy import ndimage

from vb_node.pipeline.crop import bounding_box
from vb_node.pipeline.symmetry import mirrored
from vb_node.types import Floats, Mask, StandardVolume

NAMES = ("t1ce", "smooth 1", "smooth 2", "smooth 4", "gradient", "local sd", "asymmetry", "asymmetry smooth 2", "log 2")


def voxel_features(standard: StandardVolume, where: Mask) -> Floats:
    """Give the features (n, 9) of the voxels of ``where``, in the order of ``NAMES`` and of ``np.nonzero``."""
    box = bounding_box(where, margin=12)
    z, inside = standard.voxels[box], where[box]
    difference = z - mirrored(standard, standard.voxels, box)
    maps = (
        z,
        ndimage.gaussian_filter(z, 1),
        ndimage.gaussian_filter(z, 2),
        ndimage.gaussian_filter(z, 4),
        ndimage.gaussian_gradient_magnitude(z, 1),
        _local_sd(z, 5),
        difference,
        ndimage.gaussian_filter(difference, 2),
        ndimage.gaussian_laplace(z, 2),
    )
    return np.stack([values[inside] for values in maps], axis=1).astype(np.float32)


def _local_sd(z: Floats, size: int) -> Floats:
    mean = ndimage.uniform_filter(z, size)
    return np.asarray(np.sqrt(np.maximum(ndimage.uniform_filter(z * z, size) - mean * mean, 0)), dtype=np.float32)
