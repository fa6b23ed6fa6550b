"""MNI152 (ICBM 2009a nonlinear symmetric), as nilearn carries it: template, brain, grey and white matter.

nilearn's template is skull-stripped, so it looks like a head only inside its brain mask. Sources: Fonov et al. 2011,
doi:10.1016/j.neuroimage.2010.07.033; nilearn 0.14 ``load_mni152_template``.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from scipy import ndimage

from vb_node.pipeline.crop import Where, paste
from vb_node.pipeline.resample import to_grid
from vb_node.types import Floats, Grid, Mask, Matrix, Volume

_FAR_MM = 50
# LPS mm on the template, each from and to: midbrain and pons, without the cerebellum.
_BRAINSTEM = ((-18, 18), (8, 38), (-56, -10))


@dataclass(frozen=True, eq=False)
class Atlas:
    """MNI152 on one grid; ``grey`` and ``white`` are probabilities (0-1)."""

    template: Volume
    brain: Mask
    grey: Floats
    white: Floats

    @property
    def grid(self) -> Grid:
        return self.template.grid


@cache
def atlas(step_mm: int) -> Atlas:
    """Load MNI152 at a voxel size of whole mm."""
    # nilearn takes over a second to import, and only this function needs it
    from nilearn.datasets import (
        load_mni152_brain_mask,
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    image = load_mni152_template(resolution=step_mm)
    template = _to_kji(image)
    # PS3.6 table A-2 has no well-known frame of reference for MNI152 2009a
    grid = Grid(template.shape, _affine_lps(image), "")
    brain = _to_kji(load_mni152_brain_mask(resolution=step_mm)) > 0.5
    grey = _to_kji(load_mni152_gm_template(resolution=step_mm))
    white = _to_kji(load_mni152_wm_template(resolution=step_mm))
    return Atlas(Volume(template, grid), brain, grey, white)


@dataclass(frozen=True, eq=False)
class PlacedAtlas:
    """The atlas on a patient's grid; ``depth_mm`` is the depth in its brain, negative outside."""

    depth_mm: Floats
    grey: Floats
    white: Floats
    brainstem: Mask

    @property
    def brain(self) -> Mask:
        return np.asarray(self.depth_mm > 0)

    def in_whole(self, where: Where, shape: tuple[int, int, int]) -> Self:
        """Give the same on a grid of which this one's is a box; beyond it nothing is near the brain."""
        return type(self)(
            paste(self.depth_mm, where, shape, outside=-_FAR_MM),
            paste(self.grey, where, shape),
            paste(self.white, where, shape),
            paste(self.brainstem, where, shape),
        )


def place(atlas_from_patient: Matrix, grid: Grid) -> PlacedAtlas:
    """Carry the atlas to a grid in the patient by the affine."""
    reference = atlas(2)
    carried = Grid(reference.grid.shape, np.linalg.inv(atlas_from_patient) @ reference.grid.affine_lps, "")
    fields = (brain_depth_mm(), reference.grey, reference.white, _brainstem())
    depth, grey, white, brainstem = (
        to_grid(Volume(voxels + offset, carried), grid, smooth=False).voxels - offset
        # what lies off the atlas is read as 0: shift depth so that it means far outside
        for voxels, offset in zip(fields, (_FAR_MM, 0, 0, 0), strict=True)
    )
    # the affine's mean stretch turns mm of the atlas into mm of the patient
    stretch = np.cbrt(abs(1 / np.linalg.det(atlas_from_patient[:3, :3])))
    return PlacedAtlas(depth * stretch, grey, white, brainstem > 0.5)


@cache
def brain_depth_mm() -> Floats:
    """Depth in the atlas brain at 2 mm, in mm of MNI152; negative outside."""
    brain = atlas(2).brain
    # MNI152's mask ends with its field of view: go on below it, as the brainstem does
    inside = ndimage.distance_transform_edt(np.pad(brain, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    return np.asarray((inside - ndimage.distance_transform_edt(~brain)) * 2, dtype=np.float32)


@cache
def _brainstem() -> Floats:
    """Mark the box of the brainstem at 2 mm, 0 or 1."""
    grid = atlas(2).grid
    lps = grid.to_lps(np.indices(grid.shape).reshape(3, -1).T)
    low, high = np.transpose(_BRAINSTEM)
    is_inside = ((lps >= low) & (lps <= high)).all(axis=1)
    return np.asarray(is_inside.reshape(grid.shape), dtype=np.float32)


def _to_kji(image: Any) -> Floats:
    """Turn a NIfTI array along R, A, S into one along superior, posterior, left."""
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    return np.ascontiguousarray(voxels[::-1, ::-1, :].transpose(2, 1, 0))


def _affine_lps(image: Any) -> Matrix:
    """Give the affine that maps (k, j, i) of ``_to_kji`` to LPS mm."""
    columns, rows, _ = image.shape
    last_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine @ [columns - 1, rows - 1, 0, 1]
    step_x, step_y, step_z = np.diag(image.affine)[:3]
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = step_z, step_y, step_x
    affine[:, 3] = last_lps
    return affine
