"""The way between a standardised volume and square pictures of its slices, there and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vb_node.applications.virtual_biopsy.vlm.answers import Sight
from vb_node.models.vision_language import Pixels
from vb_node.pipeline.prior import Box
from vb_node.types import StandardVolume

MARGIN_MM = 4
DETAIL_MM, DETAIL_ROOM = 64.0, 1.5
BRIGHTEST, DARKEST = 99.5, 1.0  # percentiles of the brain that span the grey scale
LEAST_BRAIN = 0.05  # share of the largest cross-section from which a slice is looked at
MOST_BRAIN = 0.6  # a box over more of the brain's own box says nothing


@dataclass(frozen=True)
class View:
    """A square of one slice: its upper left corner and side in voxels (1 mm), counted from the volume's edge."""

    k: int
    top: float
    left: float
    side: float


def grey_scale(standard: StandardVolume) -> tuple[float, float]:
    """Give the values that are shown black and white."""
    low, high = np.percentile(standard.voxels[standard.brain], (DARKEST, BRIGHTEST))
    return float(low), float(max(high, low + 1e-3))


def draw(standard: StandardVolume, view: View, side_px: int, scale: tuple[float, float]) -> Pixels:
    """Draw a view (side_px, side_px, 3), grey: colour would be foreign to pictures of MR that a model has seen."""
    low, high = scale
    shown = np.where(standard.brain[view.k], standard.voxels[view.k], low)
    step = view.side / side_px
    # the centre of the first pixel, in indices of voxels, whose centres are half a voxel from their edge
    offset = np.array([view.top, view.left]) + step / 2 - 0.5
    sampled = ndimage.affine_transform(shown, [step, step], offset, (side_px, side_px), order=1, cval=low)
    grey = np.clip(255 * (sampled - low) / (high - low), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def whole_slices(standard: StandardVolume, stride: int) -> list[View]:
    """View every so many slices of the brain in the square that holds all of it."""
    rows, columns = (_span(np.asarray(standard.brain.any(axis=axes))) for axes in ((0, 2), (0, 1)))
    side = max(rows[1] - rows[0], columns[1] - columns[0]) + 2.0 * MARGIN_MM
    top, left = (sum(span) / 2 - side / 2 for span in (rows, columns))
    area = standard.brain.sum(axis=(1, 2))
    slices = np.flatnonzero(area >= max(1, LEAST_BRAIN * area.max()))[::stride]
    return [View(int(k), top, left, side) for k in slices]


def details(standard: StandardVolume, boxes: Sequence[Box], reach: int) -> list[View]:
    """View a group of boxes enlarged, on their slices and those up to ``reach`` beside and between them."""
    edges = np.array([(box.j0, box.j1, box.i0, box.i1) for box in boxes])
    (j0, _, i0, _), (_, j1, _, i1) = edges.min(axis=0), edges.max(axis=0)
    side = max(DETAIL_MM, DETAIL_ROOM * max(j1 - j0, i1 - i0))
    top, left = float((j0 + j1 - side) / 2), float((i0 + i1 - side) / 2)
    near = {k for box in boxes for k in range(box.k - reach, box.k + reach + 1)}
    return [View(k, top, left, side) for k in sorted(near) if _has_brain(standard, k)]


def to_box(sight: Sight, view: View, standard: StandardVolume) -> Box | None:
    """Carry a sight to the volume; None where it leaves nothing, or holds most of the brain."""
    if not _has_brain(standard, view.k):
        return None
    _, rows, columns = standard.grid.shape
    j0, j1 = _to_voxels(view.top + view.side * sight.y0, view.top + view.side * sight.y1, rows)
    i0, i1 = _to_voxels(view.left + view.side * sight.x0, view.left + view.side * sight.x1, columns)
    box = Box(view.k, j0, j1, i0, i1, sight.score)
    brain = standard.brain[view.k]
    (b0, b1), (c0, c1) = _span(brain.any(axis=1)), _span(brain.any(axis=0))
    return box if 0 < box.area <= MOST_BRAIN * (b1 - b0) * (c1 - c0) else None


def _to_voxels(begin: float, end: float, size: int) -> tuple[int, int]:
    first = min(max(round(begin), 0), size)
    return first, min(max(round(end), first + 1), size)


def _has_brain(standard: StandardVolume, k: int) -> bool:
    return 0 <= k < standard.grid.shape[0] and bool(standard.brain[k].any())


def _span(marked: NDArray[np.bool_]) -> tuple[int, int]:
    found = np.flatnonzero(marked)
    return int(found[0]), int(found[-1]) + 1
