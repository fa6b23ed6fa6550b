"""MRI-Processor: from a volume to the standardised volume (Virtual Biopsy, 2602.21613, "standardization")."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np

from vb_node.pipeline import artefacts, quality
from vb_node.pipeline.atlas import PlacedAtlas, atlas, place
from vb_node.pipeline.bias_field import estimate_shading, remove_shading
from vb_node.pipeline.brain import SHELL_MM, extract_brain
from vb_node.pipeline.crop import Where, bounding_box, crop_grid, paste
from vb_node.pipeline.intensity import z_score
from vb_node.pipeline.registration import Registration, register
from vb_node.pipeline.resample import bin_voxels, field_of_view, to_grid
from vb_node.types import Floats, Grid, Mask, StandardVolume, Volume

SHAPE = (193, 229, 193)
"""Slices, rows, columns of the standardised volume, 1 mm each: around the MNI152 brain, with room for larger heads."""

ORIGIN_ATLAS_LPS = (-96.0, -98.0, -86.0)
"""Where index (0, 0, 0) stands in MNI152 LPS mm, after the rigid part of the registration."""

_STEP_MM, _COARSE_MM = 1, 4
# the shell in which the brain is looked for, and what is averaged about it, in a head stretched by a fifth
_ROOM_MM = SHELL_MM + 6
_SURE = 0.8  # atlas probability from which a voxel counts as grey or white matter

Progress = Callable[[str, float], None]


def _silent(_step: str, _share: float) -> None:
    """Report to nobody."""


def process(volume: Volume, progress: Progress = _silent) -> StandardVolume:
    """Standardise a head: registered, shading removed, at 1 mm, brain alone, z-scored.

    ``progress`` is called with the name of each step and the share (0-1) done before it.
    Raises ``Unfit`` for values that are no image, ``OutOfCoverage``, ``NoBrain``, ``Motion`` and ``NoContrast``.
    """
    volume, source = quality.check_values(volume), volume.grid
    quality.check_extent(source)
    volume = bin_voxels(volume, _STEP_MM)
    progress("registration", 0.0)
    registration = register(volume)
    figures = artefacts.in_air(volume, registration)
    quality.check_registration(registration, figures)
    progress("resampling", 0.3)
    grid = standard_grid(registration, volume.grid)
    where = about_brain(registration, grid)
    near = crop_grid(grid, where)
    with ThreadPoolExecutor(1) as pool:
        shading = pool.submit(shading_of, volume, registration)
        standard = to_grid(volume, near, "bspline")
        placed = place(registration.atlas_from_patient, near)
        progress("shading", 0.4)
        standard = remove_shading(standard, shading.result())
    seen = field_of_view(volume.grid, near)
    figures |= artefacts.in_tissue(standard, placed, seen, registration)
    quality.check_contrast(figures)
    progress("brain extraction", 0.6)
    voxels, seen = paste(standard.voxels, where, grid.shape), paste(seen, where, grid.shape)
    placed = placed.in_whole(where, grid.shape)
    brain = brain_of(voxels, placed, seen)
    progress("quality", 0.95)
    figures |= quality.judge(brain, placed.brain & seen, registration)
    flags = quality.flags(source, figures)
    return StandardVolume(z_score(voxels, brain), grid, brain, registration.atlas_from_patient, figures, flags)


def standard_grid(registration: Registration, source: Grid, step_mm: int = _STEP_MM) -> Grid:
    """Lay the standardised volume's grid in the patient, by the rigid part of the registration."""
    slices, rows, columns = ((size - 1) // step_mm + 1 for size in SHAPE)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, ::-1] * step_mm
    affine[:3, 3] = ORIGIN_ATLAS_LPS
    return Grid((slices, rows, columns), np.linalg.inv(registration.rigid) @ affine, source.frame_of_reference_uid)


def about_brain(registration: Registration, grid: Grid) -> Where:
    """Box the atlas brain on a grid of 1 mm, with as much around it as counts when the brain is looked for."""
    box = bounding_box(atlas(2).brain, margin=0)
    corners = np.array(list(product(*((axis.start, axis.stop - 1) for axis in box))))
    patient_from_atlas = np.linalg.inv(registration.atlas_from_patient)
    corners_lps = atlas(2).grid.to_lps(corners) @ patient_from_atlas[:3, :3].T + patient_from_atlas[:3, 3]
    index = np.rint(grid.to_index(corners_lps)).astype(int)
    low, high = index.min(axis=0) - _ROOM_MM, index.max(axis=0) + _ROOM_MM + 1
    k, j, i = (slice(max(a, 0), min(b, n)) for a, b, n in zip(low.tolist(), high.tolist(), grid.shape, strict=True))
    return k, j, i


def shading_of(volume: Volume, registration: Registration) -> Volume:
    """Estimate the shading of a volume inside the atlas brain; its natural logarithm, on a grid of its own."""
    coarse = to_grid(volume, standard_grid(registration, volume.grid, _COARSE_MM))
    return estimate_shading(coarse, place(registration.atlas_from_patient, coarse.grid).brain)


def brain_of(voxels: Floats, placed: PlacedAtlas, seen: Mask) -> Mask:
    """Find the brain on the standardised grid, with the atlas placed there; only what was seen is brain."""
    grey, white = (seen & (probability > _SURE) for probability in (placed.grey, placed.white))
    return np.asarray(extract_brain(voxels, placed.depth_mm, grey, white, placed.brainstem) & seen)
