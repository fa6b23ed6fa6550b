"""The phantom's scanner: from a head on the atlas grid to one acquired volume in the patient's coordinates.

Each case gets its own position, size and shape of head, slice geometry, coil shading and Rician noise
(Gudbjartsson and Patz, Magnetic Resonance in Medicine, 1995).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.random import Generator
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats, Grid, Matrix

Acquisition = Literal["axial", "sagittal", "oblique", "thick"]
ACQUISITIONS: tuple[Acquisition, ...] = get_args(Acquisition)

# Columns: the LPS directions of k, j, i.
_AXES = {
    "axial": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=np.float64),
    "sagittal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64),
}
_AXES["oblique"] = _AXES["thick"] = _AXES["axial"]


@dataclass(frozen=True, eq=False)
class Pose:
    """How one patient's head lies and differs from the template: ``atlas_from_patient`` (4, 4) and a smooth remainder.

    ``warp_mm`` (3, nodes, nodes, nodes) displaces atlas points, along z, y, x; its nodes span the acquired grid.
    """

    atlas_from_patient: Matrix
    warp_mm: Tensor


def draw_pose(rng: Generator) -> Pose:
    """Draw position, turn, size and shape of one head."""
    turn = Rotation.from_euler("xyz", rng.normal(0, 5, 3), degrees=True).as_matrix()
    shear = np.eye(3) + rng.normal(0, 0.015, (3, 3))
    size = np.diag(rng.uniform(0.93, 1.07, 3))
    patient_from_atlas = np.eye(4)
    patient_from_atlas[:3, :3] = turn @ shear @ size
    patient_from_atlas[:3, 3] = rng.normal(0, 8, 3)
    return Pose(np.asarray(np.linalg.inv(patient_from_atlas), dtype=np.float64), _draw_warp(rng))


def _draw_warp(rng: Generator) -> Tensor:
    """Add a broad displacement, 3 mm, and a fine one, 1 mm, which gives each brain its own folds."""
    broad = rng.standard_normal((1, 3, 7, 7, 7), dtype=np.float32) * 3
    fine = rng.standard_normal((1, 3, 25, 25, 25), dtype=np.float32)
    enlarged = functional.interpolate(torch.from_numpy(broad), size=(25, 25, 25), mode="trilinear", align_corners=True)
    return (enlarged + torch.from_numpy(fine))[0]


def draw_grid(acquisition: Acquisition, pose: Pose, frame_of_reference_uid: str, rng: Generator) -> Grid:
    """Lay a grid over the head as a technician would: centred on the brain, along the series' own plane."""
    axes = _AXES[acquisition].copy()
    if acquisition == "oblique":
        axes = Rotation.from_euler("xyz", rng.uniform(-18, 18, 3), degrees=True).as_matrix() @ axes
    if acquisition == "thick":
        axes = Rotation.from_euler("x", rng.uniform(-15, 15), degrees=True).as_matrix() @ axes
    in_plane = rng.uniform(0.8, 0.95) if acquisition == "thick" else rng.uniform(0.95, 1.05)
    spacing = np.array([rng.uniform(5, 6.5) if acquisition == "thick" else rng.uniform(0.95, 1.1), in_plane, in_plane])
    extent = np.array([188.0, 240, 200] if acquisition != "sagittal" else [184.0, 236, 240])
    shape = np.ceil(extent / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    middle = (np.linalg.inv(pose.atlas_from_patient) @ [0.0, 12, 8, 1])[:3] + rng.normal(0, 2, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    k, j, i = (int(n) for n in shape)
    return Grid((k, j, i), affine, frame_of_reference_uid)


def sample(fields: list[Floats], head: Grid, grid: Grid, pose: Pose) -> list[Floats]:
    """Resample fields of the head box to an acquired grid; a thick slice is the mean of thin ones."""
    thin = max(1, round(grid.spacing_mm[0] / 2))
    stack = torch.from_numpy(np.stack(fields))[None]
    with torch.inference_mode():
        points = _atlas_index(grid, thin, head, pose)
        last = torch.tensor(head.shape, dtype=torch.float32) - 1
        where = (points / last * 2 - 1).flip(-1)[None]
        # (1, fields, thin * k, j, i) -> (fields, k, j, i)
        dense = functional.grid_sample(stack, where, mode="bilinear", padding_mode="zeros", align_corners=True)
        slices = dense[0].reshape(len(fields), grid.shape[0], thin, *grid.shape[1:]).mean(dim=2)
    return [np.asarray(field.numpy(), dtype=np.float32) for field in slices]


def blur(signal: Floats) -> Floats:
    """Average three voxels along each axis, in place: what a voxel of 2 to 3 mm sees."""
    for axis in range(3):
        lines = signal.swapaxes(0, axis)
        lines[1:-1] = (lines[:-2] + lines[1:-1] + lines[2:]) / 3
    return signal


def _atlas_index(grid: Grid, thin: int, head: Grid, pose: Pose) -> Tensor:
    """Give for every thin slice's voxel its index in the head box, (thin * k, j, i, 3)."""
    k, j, i = grid.shape
    index_from_grid = np.linalg.inv(head.affine_lps) @ pose.atlas_from_patient @ grid.affine_lps
    matrix = torch.from_numpy(index_from_grid.astype(np.float32))
    at_k = (torch.arange(thin * k, dtype=torch.float32) + 0.5) / thin - 0.5
    points = matrix[:3, 3] + at_k[:, None, None, None] * matrix[:3, 0]
    points = points + torch.arange(j, dtype=torch.float32)[:, None, None] * matrix[:3, 1]
    points = points + torch.arange(i, dtype=torch.float32)[:, None] * matrix[:3, 2]
    # The head box has voxels of 1 mm along z, y, x, so a displacement in mm is one in voxels.
    size = (thin * k, j, i)
    shift = functional.interpolate(pose.warp_mm[None], size=size, mode="trilinear", align_corners=True)
    return points + shift[0].movedim(0, -1)


def acquire(signal: Floats, grid: Grid, shading: float, rng: Generator) -> Floats:
    """Shade a volume by the coil, scale it as a scanner would, and add Rician noise; values are whole, 0 to 4095.

    Noise is drawn for a voxel of 1 mm; a larger voxel has as much less as the mean of small ones.
    """
    nodes = max(signal.shape) / 2.5
    coil = np.exp(shading * rng.uniform(0.05, 0.2) * smooth_noise(_shape(signal), nodes, rng).clip(-2, 2))
    white = rng.uniform(300, 900)
    noise = np.float32(white * rng.uniform(0.01, 0.035) / np.sqrt(grid.voxel_mm3))
    real = signal * coil * white + noise * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.rint(np.hypot(real, imaginary)).clip(0, 4095), dtype=np.float32)


def _shape(array: Floats) -> tuple[int, int, int]:
    k, j, i = array.shape
    return k, j, i
