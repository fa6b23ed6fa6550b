"""What registration compares: local contrast, the same for every scanner, of a volume and of points of the template.

The logarithm of the intensity, less its mean over some 12 mm, over its deviation there: that takes away coil shading
and much of the bright scalp and the contrast agent, and leaves ventricles, sulci, skull and the grey-white edge.
"""

from functools import cache

import numpy as np
from scipy import ndimage

from vb_node.pipeline.atlas import atlas, brain_depth_mm
from vb_node.types import Floats, Mask, Matrix, Volume

_MARGIN_MM = 8.0
_SKULL_MM, _SCALP_MM = 9.0, 7.0
_WINDOW_MM = 12.0
_DEEP_MM = 14.0
_FLOOR = 0.25  # of the brightness of tissue: keeps noise in air from looking like contrast


def local_contrast(volume: Volume, where: Mask, smooth_mm: float) -> Floats:
    """Give local contrast (about -2 to 2), NaN outside ``where``; the grid must be isotropic."""
    step_mm = volume.grid.spacing_mm[0]
    voxels = np.maximum(
        ndimage.gaussian_filter(volume.voxels, np.sqrt(max(smooth_mm**2 - step_mm**2, 0) + 1e-6) / step_mm), 0
    )
    logarithm = np.where(where, np.log(voxels / _typical(voxels, where) + _FLOOR), 0)
    width = _WINDOW_MM / step_mm
    weight = np.maximum(ndimage.gaussian_filter(where.astype(np.float32), width), 1e-3)
    mean = ndimage.gaussian_filter(logarithm, width) / weight
    apart = np.where(where, logarithm - mean, 0)
    deviation = np.sqrt(ndimage.gaussian_filter(apart**2, width) / weight)
    return np.where(where, np.clip(apart / (deviation + 0.1), -2, 2), np.nan).astype(np.float32)


def _typical(voxels: Floats, where: Mask) -> float:
    """Give the brightness of tissue: the median of what is brighter than the mean, as air and its noise never are."""
    inside = voxels[where]
    bright = inside[inside > inside.mean()] if inside.size else inside
    return float(np.median(bright)) if bright.size else 1.0


def detail(volume: Volume, where: Mask) -> Floats:
    """Give structure of 2.5 to 7 mm in the logarithm of the intensity; NaN outside ``where``."""
    voxels = np.maximum(volume.voxels, 0)
    logarithm = np.log(np.minimum(voxels / _typical(voxels, where), 2.5) + _FLOOR)
    fine, wide = (ndimage.gaussian_filter(logarithm, width / volume.grid.spacing_mm[0]) for width in (2.5, 7.0))
    return np.where(where, fine - wide, np.nan).astype(np.float32)


@cache
def around_brain(step_mm: int, smooth_mm: float, has_scalp: bool) -> tuple[Matrix, Floats]:
    """Sample the template: points (n, 3) in MNI152 LPS mm around the brain, and its local contrast there.

    Above the skull base they go on into a scalp drawn there: its bright shell tells a brain in its skull from a head
    in air.
    """
    reference = atlas(2)
    above_base = reference.grid.affine_lps[2, 3] + 2 * np.arange(reference.grid.shape[0])[:, None, None] > 0
    near = brain_depth_mm() > -_MARGIN_MM
    if has_scalp:
        near = near | (above_base & (brain_depth_mm() > -_SKULL_MM - _SCALP_MM))
    stride = step_mm // 2
    index = np.argwhere(near[::stride, ::stride, ::stride]) * stride
    return reference.grid.to_lps(index), _template_contrast(smooth_mm, has_scalp)[tuple(index.T)]


@cache
def _template_contrast(smooth_mm: float, has_scalp: bool) -> Floats:
    template = atlas(2).template
    bright = np.float32(np.quantile(template.voxels[atlas(2).brain], 0.9))
    scalp = (brain_depth_mm() < -_SKULL_MM) & (brain_depth_mm() > -_SKULL_MM - _SCALP_MM)
    head = np.where(scalp & has_scalp, bright, template.voxels)
    return local_contrast(Volume(head, template.grid), np.ones_like(scalp), smooth_mm)


@cache
def deep_points() -> tuple[Matrix, Floats, Floats]:
    """Give points deep in the brain (n, 3), the template's fine structure there, and their depth in mm."""
    reference = atlas(2)
    deep = brain_depth_mm() > _DEEP_MM
    deep[::2] = False
    return (
        reference.grid.to_lps(np.argwhere(deep)),
        detail(reference.template, reference.brain)[deep],
        brain_depth_mm()[deep],
    )


@cache
def brain_points() -> Matrix:
    return atlas(2).grid.to_lps(np.argwhere(atlas(2).brain)[::7])
