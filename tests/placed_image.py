"""Voxels on a grid as SimpleITK has them, for tools that read by it."""

from typing import Any

import SimpleITK
from numpy.typing import NDArray

from vb_node.types import Grid


def placed_image(voxels: NDArray[Any], grid: Grid) -> SimpleITK.Image:
    """Give voxels (k, j, i) of a grid as an image of the same type at the same place, LPS mm."""
    image = SimpleITK.GetImageFromArray(voxels)
    spacing_mm = [float(mm) for mm in grid.spacing_mm[::-1]]
    image.SetDirection((grid.affine_lps[:3, [2, 1, 0]] / spacing_mm).ravel().tolist())
    image.SetSpacing(spacing_mm)
    image.SetOrigin(grid.affine_lps[:3, 3].tolist())
    return image
