"""Make a head with a known brain: MNI152 moved by a known affine, in skull, scalp and neck."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vb_node.pipeline.atlas import atlas
from vb_node.pipeline.resample import mask_to_grid, to_grid
from vb_node.types import Grid, Mask, Matrix, Volume


@dataclass(frozen=True, eq=False)
class HeadPhantom:
    """A head, its brain and where it really lies."""

    volume: Volume
    brain: Mask
    atlas_from_patient: Matrix


def patient_affine(turn_degrees: tuple[float, ...], shift_mm: tuple[float, ...], scale: float = 0.9) -> Matrix:
    """Give atlas_from_patient of a head turned about its middle, moved and scaled."""
    patient_from_atlas = np.eye(4)
    patient_from_atlas[:3, :3] = Rotation.from_euler("xyz", turn_degrees, degrees=True).as_matrix() * scale
    patient_from_atlas[:3, 3] = shift_mm
    return np.linalg.inv(patient_from_atlas)


def make_head(atlas_from_patient: Matrix, grid: Grid, seed: int = 0, lesion: float | None = None) -> HeadPhantom:
    """Make a head on a grid; ``lesion`` is the brightness (white matter is 0.85) of a 35 mm ball at its surface."""
    reference = atlas(2)
    shape = tuple(size + 60 for size in reference.grid.shape)
    brain = np.pad(reference.brain, 30)
    away_mm = ndimage.distance_transform_edt(~brain) * 2
    head = np.pad(reference.template.voxels, 30)
    index = np.indices(shape, dtype=np.float32)
    if lesion is not None:
        middle = np.array([30 + 58, 30 + 55, 30 + 78])[:, None, None, None]
        head = np.where((np.linalg.norm((index - middle) * 2, axis=0) < 17.5) & brain, lesion, head)
    head = np.where((away_mm > 0) & (away_mm <= 3), 0.25, head)  # fluid
    head = np.where((away_mm > 3) & (away_mm <= 9), 0.08, head)  # bone
    head = np.where((away_mm > 9) & (away_mm <= 15), 1.25, head)  # scalp
    neck = (np.hypot((index[1] - 95) * 2, (index[2] - 79) * 2) < 55) & (index[0] < 38) & (away_mm > 9)
    head = np.where(neck, 0.6, head).astype(np.float32)
    wide = reference.grid.affine_lps.copy()
    wide[:3, 3] = reference.grid.to_lps(np.array([-30.0, -30.0, -30.0]))
    placed = Grid((shape[0], shape[1], shape[2]), np.linalg.inv(atlas_from_patient) @ wide, "")
    clean = to_grid(Volume(head, placed), grid).voxels
    rng = np.random.default_rng(seed)
    shading = np.exp(0.25 * np.linspace(-1, 1, grid.shape[2], dtype=np.float32))
    noise = rng.normal(0, 0.03, (2, *grid.shape)).astype(np.float32)
    voxels = 600 * np.hypot(clean * shading + noise[0], noise[1])
    return HeadPhantom(Volume(voxels.astype(np.float32), grid), mask_to_grid(brain, placed, grid), atlas_from_patient)


def axial_grid(spacing_mm: tuple[float, float, float], extent_mm: tuple[float, float, float]) -> Grid:
    """Lay an axial grid whose middle is the patient's origin."""
    slices, rows, columns = (round(extent / step) for extent, step in zip(extent_mm, spacing_mm, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, ::-1] * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ (np.array([slices, rows, columns]) - 1) / 2
    return Grid((slices, rows, columns), affine, "1.2.3")
