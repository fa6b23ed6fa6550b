"""Boxes cut out of a volume: most of a head is not brain, and most of a brain is no lesion."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vb_node.types import Grid, Mask

Where = tuple[slice, slice, slice]
_Kind = TypeVar("_Kind", bound=np.generic)


def bounding_box(mask: Mask, margin: int) -> Where:
    """Give the smallest box around a mask that is not empty, wider by ``margin`` where the volume allows."""
    spans = []
    for axis, length in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        spans.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, length)))
    k, j, i = spans
    return k, j, i


def crop_grid(grid: Grid, where: Where) -> Grid:
    """Give the grid of a box of a volume."""
    affine = grid.affine_lps.copy()
    affine[:3, 3] = grid.to_lps(np.array([[axis.start for axis in where]]))[0]
    k, j, i = (axis.stop - axis.start for axis in where)
    return Grid((k, j, i), affine, grid.frame_of_reference_uid)


def paste(part: NDArray[_Kind], where: Where, shape: tuple[int, ...], outside: float = 0) -> NDArray[_Kind]:
    """Put a box back into its volume; ``outside`` elsewhere."""
    whole = np.full(shape, outside, part.dtype)
    whole[where] = part
    return whole
