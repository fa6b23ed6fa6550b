"""From boxes to a smooth map: stack, smooth, dilate (virtual biopsy, arXiv 2602.21613, Fig. 3, block 1)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from vb_node.pipeline.crop import bounding_box, paste
from vb_node.types import Floats, Mask


@dataclass(frozen=True)
class Box:
    """A rectangle on one axial slice of the standardised volume: rows j0 to j1 and columns i0 to i1, ends not included.

    ``score`` is what its detector believes of it, 0-1 and not calibrated.
    """

    k: int
    j0: int
    j1: int
    i0: int
    i1: int
    score: float = 1.0

    @property
    def area(self) -> int:
        return max(self.j1 - self.j0, 0) * max(self.i1 - self.i0, 0)


@dataclass(frozen=True)
class PriorSettings:
    """How boxes become the coarse prior; docs/virtual-biopsy-localizer.md gives the reasons.

    ``sigma_mm`` is along slices, rows, columns; ``threshold`` is a share of the map's maximum.
    """

    sigma_mm: tuple[float, float, float] = (2.0, 1.5, 1.5)
    threshold: float = 0.35
    dilate_mm: int = 1


def stack_boxes(shape: tuple[int, int, int], boxes: Iterable[Box]) -> Floats:
    """Lay boxes into a volume: each voxel takes the best score among the boxes that hold it, 0 outside."""
    stacked = np.zeros(shape, dtype=np.float32)
    for box in boxes:
        if 0 <= box.k < shape[0]:
            part = stacked[box.k, max(box.j0, 0) : max(box.j1, 0), max(box.i0, 0) : max(box.i1, 0)]
            np.maximum(part, box.score, out=part)
    return stacked


def inscribed_ellipses(shape: tuple[int, int, int], boxes: Iterable[Box]) -> Mask:
    """Mark what lies in the ellipse inside a box: a lesion does not reach the corners."""
    marked = np.zeros(shape, dtype=np.bool_)
    for box in boxes:
        if 0 <= box.k < shape[0]:
            j, i = np.mgrid[max(box.j0, 0) : min(box.j1, shape[1]), max(box.i0, 0) : min(box.i1, shape[2])]
            across_j = (2 * j + 1 - box.j0 - box.j1) / (box.j1 - box.j0)
            across_i = (2 * i + 1 - box.i0 - box.i1) / (box.i1 - box.i0)
            marked[box.k, j, i] |= across_j**2 + across_i**2 <= 1
    return marked


def coarse_prior(stacked: Floats, settings: PriorSettings) -> Floats:
    """Smooth and dilate stacked boxes at 1 mm; relative to its maximum (0-1), 0 below ``threshold``."""
    smooth = smooth_boxes(stacked, settings)
    prior = ndimage.grey_dilation(smooth, size=2 * settings.dilate_mm + 1)
    return np.where(prior >= settings.threshold, prior, 0).astype(np.float32)


def smooth_boxes(stacked: Floats, settings: PriorSettings) -> Floats:
    """Smooth stacked boxes; relative to the maximum (0-1)."""
    if not stacked.any():
        return np.zeros(stacked.shape, np.float32)
    # SciPy's Gaussian ends at four sigma
    where = bounding_box(stacked > 0, margin=math.ceil(4 * max(settings.sigma_mm)) + 1)
    smooth = ndimage.gaussian_filter(stacked[where], settings.sigma_mm)
    return paste(np.asarray(smooth / max(float(smooth.max()), 1e-6), dtype=np.float32), where, stacked.shape)
