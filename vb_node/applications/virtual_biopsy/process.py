"""MRI-Processor: from a volume to the standardised volume (Virtual Biopsy, 2602.21613, "standardization")."""

from collections.abc import Callable

import numpy as np

from vb_node.pipeline import quality
from vb_node.pipeline.atlas import PlacedAtlas, place
from vb_node.pipeline.bias_field import remove_shading
from vb_node.pipeline.brain import extract_brain
from vb_node.pipeline.intensity import z_score
from vb_node.pipeline.registration import Registration, register
from vb_node.pipeline.resample import field_of_view, to_grid
from vb_node.types import Grid, Mask, StandardVolume, Volume

SHAPE = (193, 229, 193)
"""Slices, rows, columns of the standardised volume, 1 mm each: around the MNI152 brain, with room for larger heads."""

ORIGIN_ATLAS_LPS = (-96.0, -98.0, -86.0)
"""Where index (0, 0, 0) stands in MNI152 LPS mm, after the rigid part of the registration."""

_COARSE_MM = 4
_SURE = 0.8  # atlas probability from which a voxel counts as grey or white matter

Progress = Callable[[str, float], None]


def _silent(_step: str, _share: float) -> None:
    """Report to nobody."""


def process(volume: Volume, progress: Progress = _silent) -> StandardVolume:
    """Standardise a head: registered, shading removed, at 1 mm, brain alone, z-scored.

    ``progress`` is called with the name of each step and the share (0-1) done before it.
    Raises ``Unfit`` for values that are no image, ``OutOfCoverage`` and ``NoBrain``.
    """
    volume = quality.check_values(volume)
    quality.check_extent(volume.grid)
    progress("registration", 0.0)
    registration = register(volume)
    quality.check_registration(registration)
    progress("resampling", 0.3)
    grid = standard_grid(registration, volume.grid)
    standard = to_grid(volume, grid, "bspline")
    placed = place(registration.atlas_from_patient, grid)
    progress("shading", 0.4)
    standard = _remove_shading(volume, standard, registration)
    progress("brain extraction", 0.6)
    seen = field_of_view(volume.grid, grid)
    brain = _brain(standard, placed, seen)
    progress("quality", 0.95)
    figures = quality.judge(brain, placed.brain & seen, registration)
    voxels = z_score(standard.voxels, brain)
    flags = quality.flags(volume.grid, figures)
    return StandardVolume(voxels, grid, brain, registration.atlas_from_patient, figures, flags)


def standard_grid(registration: Registration, source: Grid, step_mm: int = 1) -> Grid:
    """Lay the standardised volume's grid in the patient, by the rigid part of the registration."""
    slices, rows, columns = ((size - 1) // step_mm + 1 for size in SHAPE)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, ::-1] * step_mm
    affine[:3, 3] = ORIGIN_ATLAS_LPS
    return Grid((slices, rows, columns), np.linalg.inv(registration.rigid) @ affine, source.frame_of_reference_uid)


def _remove_shading(volume: Volume, standard: Volume, registration: Registration) -> Volume:
    coarse = to_grid(volume, standard_grid(registration, volume.grid, _COARSE_MM))
    return remove_shading(standard, coarse, place(registration.atlas_from_patient, coarse.grid).brain)


def _brain(standard: Volume, placed: PlacedAtlas, seen: Mask) -> Mask:
    grey, white = (seen & (probability > _SURE) for probability in (placed.grey, placed.white))
    return np.asarray(extract_brain(standard.voxels, placed.depth_mm, grey, white, placed.brainstem) & seen)
