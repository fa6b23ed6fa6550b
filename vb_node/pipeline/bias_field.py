"""Estimate and remove the coil's shading (N4, Tustison et al. 2010, doi:10.1109/TMI.2010.2046908)."""

import numpy as np
import SimpleITK

from vb_node.pipeline.resample import to_grid
from vb_node.types import Floats, Mask, Volume

_ITERATIONS = (20, 20, 20)


def remove_shading(volume: Volume, coarse: Volume, where: Mask) -> Volume:
    """Divide a volume by its shading, estimated on a coarse copy of it inside ``where`` (a mask on the coarse grid).

    The field is smooth, so a copy at 4 mm carries it whole; N4 at 1 mm would take minutes. Its mean logarithm is 0 in
    ``where``.
    """
    log_field = to_grid(Volume(_log_field(coarse.voxels, where), coarse.grid), volume.grid, smooth=False)
    return Volume(np.asarray(volume.voxels * np.exp(-log_field.voxels), dtype=np.float32), volume.grid)


def _log_field(voxels: Floats, where: Mask) -> Floats:
    """Fit N4's B-spline field, as its natural logarithm."""
    positive = where & (voxels > 0)
    image, mask = SimpleITK.GetImageFromArray(voxels), SimpleITK.GetImageFromArray(positive.astype(np.uint8))
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.SetConvergenceThreshold(1e-3)
    n4.Execute(image, mask)
    log_field = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
    return np.asarray(log_field - log_field[positive].mean(), dtype=np.float32)
