"""The mirror image of a head: reflection in the mid-sagittal plane of the atlas."""

import numpy as np
from scipy import ndimage

from vb_node.types import Floats, Matrix, StandardVolume


def mirrored(standard: StandardVolume, voxels: Floats, where: tuple[slice, slice, slice] | None = None) -> Floats:
    """Reflect voxels (on the grid of ``standard``) in the mid-sagittal plane of the atlas; linear. All, or a box."""
    return reflect(voxels, standard.atlas_from_patient @ standard.grid.affine_lps, where)


def reflect(voxels: Floats, atlas_from_index: Matrix, where: tuple[slice, slice, slice] | None = None) -> Floats:
    """Reflect voxels whose indices ``atlas_from_index`` (4, 4) carries to MNI152 LPS mm; linear. All, or a box."""
    there = mirror_index(atlas_from_index)
    first, shape = (0, 0, 0), voxels.shape
    if where is not None:
        first, shape = tuple(s.start for s in where), tuple(s.stop - s.start for s in where)
    offset = there[:3, 3] + there[:3, :3] @ first
    return np.asarray(
        ndimage.affine_transform(voxels, there[:3, :3], offset, output_shape=shape, order=1, output=np.float32),
        dtype=np.float32,
    )


def mirror_index(atlas_from_index: Matrix) -> Matrix:
    """Give the affine (4, 4) from a voxel's index to the fractional index of its mirror image."""
    return np.asarray(np.linalg.inv(atlas_from_index) @ np.diag([-1.0, 1, 1, 1]) @ atlas_from_index)
