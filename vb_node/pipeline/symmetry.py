"""The mirror image of a head: reflection in the mid-sagittal plane of the atlas."""

import numpy as np
from scipy import ndimage

from vb_node.types import Floats, Matrix, StandardVolume


def mirrored(standard: StandardVolume, voxels: Floats) -> Floats:
    """Reflect voxels (on the grid of ``standard``) in the mid-sagittal plane of the atlas; linear."""
    return reflect(voxels, standard.atlas_from_patient @ standard.grid.affine_lps)


def reflect(voxels: Floats, atlas_from_index: Matrix) -> Floats:
    """Reflect voxels whose indices ``atlas_from_index`` (4, 4) carries to MNI152 LPS mm; linear."""
    there = mirror_index(atlas_from_index)
    return np.asarray(
        ndimage.affine_transform(voxels, there[:3, :3], there[:3, 3], order=1, output=np.float32), dtype=np.float32
    )


def mirror_index(atlas_from_index: Matrix) -> Matrix:
    """Give the affine (4, 4) from a voxel's index to the fractional index of its mirror image."""
    return np.asarray(np.linalg.inv(atlas_from_index) @ np.diag([-1.0, 1, 1, 1]) @ atlas_from_index)
