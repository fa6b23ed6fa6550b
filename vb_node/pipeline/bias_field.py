"""Estimate and remove the coil's shading (N4, Tustison et al. 2010, doi:10.1109/TMI.2010.2046908)."""

import numpy as np
import SimpleITK

from vb_node.pipeline.resample import to_grid
from vb_node.types import Floats, Mask, Volume

_ITERATIONS = (20, 20, 20)


def estimate_shading(coarse: Volume, where: Mask) -> Volume:
    """Fit the natural logarithm of the shading on a coarse copy of a volume, inside a mask; its mean there is 0.

    The field is smooth, so a copy at 4 mm carries it whole; N4 at 1 mm would take minutes.
    """
    return Volume(_log_field(coarse.voxels, where), coarse.grid)


def remove_shading(volume: Volume, log_shading: Volume) -> Volume:
    """Divide a volume by its shading, given by its natural logarithm on a grid of its own."""
    log_field = to_grid(log_shading, volume.grid, smooth=False)
    return Volume(np.asarray(volume.voxels * np.exp(-log_field.voxels), dtype=np.float32), volume.grid)


def _log_field(voxels: Floats, where: Mask) -> Floats:
    """Fit N4's B-spline field."""
    positive = where & (voxels > 0)
    image, mask = SimpleITK.GetImageFromArray(voxels), SimpleITK.GetImageFromArray(positive.astype(np.uint8))
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.SetConvergenceThreshold(1e-3)
    n4.Execute(image, mask)
    log_field = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
    return np.asarray(log_field - log_field[positive].mean(), dtype=np.float32)
