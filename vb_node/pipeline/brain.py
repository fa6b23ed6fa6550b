"""Separate the brain from skull, dura and scalp, without learned weights.

The atlas brain, carried over by the affine, says roughly where the brain ends, but leaves a rim of scalp and dura
inside on one side and cuts cortex on the other. So the image decides within a shell around it: tissue between
cerebrospinal fluid and fat in brightness, cut loose from dura by an opening, made whole by a closing (sulci, dark and
bright lesions at the surface). The deep part of the atlas brain is brain whatever it looks like: no lesion falls out
of it. Where the choice is between cortex and dura, a millimetre of cortex is given up.
"""

import math

import numpy as np
from scipy import ndimage

from vb_node.errors import NoBrain
from vb_node.pipeline.crop import bounding_box, paste
from vb_node.types import Floats, Mask

DEEP_MM, SHELL_MM = 10, 6
"""Deeper than this inside the atlas brain all is brain; further than this outside none is."""

_STEM_DEEP_MM = 4  # the same in the brainstem, which has no gyri and no dura, and whose cysts reach its surface

_BRIDGE_MM = 3  # what is thinner than twice this and leads outwards is dura, vessel or nerve
_SULCUS_MM = 6
_PEEL_MM, _PEEL_DEPTH_MM = 4, 5


def extract_brain(voxels: Floats, depth_mm: Floats, grey: Mask, white: Mask, brainstem: Mask) -> Mask:
    """Give the brain on a 1 mm grid.

    ``depth_mm`` is the depth in the atlas brain (negative outside), ``grey`` and ``white`` are sure atlas tissue,
    ``brainstem`` is the box about the atlas brainstem.
    Raises ``NoBrain`` when nothing connected is left.
    """
    near = depth_mm > -SHELL_MM - 2
    if not near.any():
        raise NoBrain("no brain: the atlas brain lies outside the field of view")
    # wide enough that a dilation does not meet its walls
    box = bounding_box(near, margin=10)
    limits = _limits(voxels[grey], voxels[white])
    even = _even(voxels[box], depth_mm[box] > 2, limits)
    sure = (depth_mm[box] > DEEP_MM) | (brainstem[box] & (depth_mm[box] > _STEM_DEEP_MM))
    brain = paste(_extract(even, depth_mm[box], sure, limits), box, voxels.shape)
    if not brain.any():
        raise NoBrain("no brain: no connected brain tissue was found where the atlas expects it")
    return brain


def _extract(voxels: Floats, depth_mm: Floats, sure: Mask, limits: tuple[float, float]) -> Mask:
    near = depth_mm > -SHELL_MM
    smooth = ndimage.gaussian_filter(voxels, 0.7)
    tissue = ((smooth > limits[0]) & (smooth < limits[1]) & near) | sure
    loose = _largest(_erode(tissue, _BRIDGE_MM))
    whole = _dilate(loose, _BRIDGE_MM + 1) & tissue
    wide = _dilate(whole, _SULCUS_MM)
    closed = wide & ~_within(wide & ~_core(wide), _SULCUS_MM**2)
    smooth_outline = _dilate(_largest(_erode(closed & near, 4)), 4)
    return _peel(np.asarray(ndimage.binary_fill_holes(smooth_outline)), tissue | sure | (depth_mm > _PEEL_DEPTH_MM))


def _even(voxels: Floats, where: Mask, limits: tuple[float, float]) -> Floats:
    """Divide by the level of tissue nearby: what shading is left (vertex, poles) must not count as fluid or fat."""
    stride = 4
    sparse, inside = voxels[::stride, ::stride, ::stride], where[::stride, ::stride, ::stride]
    tissue = inside & (sparse > 0.6 * limits[0]) & (sparse < 1.3 * limits[1])
    if not tissue.any():
        return voxels
    width = 16 / stride
    total = ndimage.gaussian_filter(np.where(tissue, sparse, 0).astype(np.float32), width)
    typical = float(np.median(sparse[tissue]))
    # far from tissue the level runs out into the typical one
    level = (total + 0.01 * typical) / (ndimage.gaussian_filter(tissue.astype(np.float32), width) + 0.01)
    zoomed = ndimage.zoom(level / typical, stride, order=1, grid_mode=True, mode="nearest")
    return np.asarray(voxels / zoomed[tuple(slice(0, size) for size in voxels.shape)], dtype=np.float32)


def _peel(brain: Mask, kept: Mask) -> Mask:
    """Take off what is too dark or too bright for brain (bone, fluid, dura, fat), from outside, voxel by voxel."""
    for _ in range(_PEEL_MM):
        rim = brain & ~np.asarray(ndimage.binary_erosion(brain))
        brain = brain & (kept | ~rim)
    return _largest(_dilate(_erode(brain, 2), 2) & brain)


def _limits(grey: Floats, white: Floats) -> tuple[float, float]:
    """Give the brightness of brain: above fluid and bone, below fat, enhancing dura and vessels."""
    if not grey.size or not white.size:
        raise NoBrain("no brain: grey or white matter lies outside the field of view")
    typical = float(np.median(white))
    spread = 1.4826 * float(np.median(np.abs(white - typical)))
    return 0.62 * float(np.median(grey)), max(1.2 * typical, typical + 3.5 * spread)


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _core(mask: Mask) -> Mask:
    """Take off the outermost layer of voxels."""
    return ~np.asarray(ndimage.maximum_filter(~mask, 3))


def _erode(mask: Mask, radius: int) -> Mask:
    return ~_dilate(~mask, radius)


def _dilate(mask: Mask, radius: int) -> Mask:
    return _within(mask, radius * (radius + 1))


def _within(mask: Mask, squared: int) -> Mask:
    """Mark what lies within the root of ``squared`` voxels of a mask.

    Squared distances add up axis by axis (Felzenszwalb and Huttenlocher, doi:10.4086/toc.2012.v008a019). Up to 127 they
    fit into a byte each: a library's map of all distances takes five times as long.
    """
    nearest = np.where(mask, np.uint8(0), np.uint8(squared + 1))
    for axis in range(mask.ndim):
        before, after = np.moveaxis(nearest.copy(), axis, 0), np.moveaxis(nearest, axis, 0)
        for step in range(1, math.isqrt(squared) + 1):
            further = before + np.uint8(step * step)
            np.minimum(after[step:], further[:-step], out=after[step:])
            np.minimum(after[:-step], further[step:], out=after[:-step])
    return nearest <= squared
