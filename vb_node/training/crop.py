"""Training crops of the localizer's network, made on the fly: a deformed, re-contrasted cut of a head.

Tens of milliseconds each, so that no crop is ever seen twice.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from vb_node.models.lesion_network import PATCH, stack_fields
from vb_node.pipeline.symmetry import mirror_index
from vb_node.training.distractor import draw_distractors
from vb_node.training.drawn_lesion import Canvas, draw_lesion
from vb_node.training.randomness import smooth_noise
from vb_node.training.training_head import TrainingHead
from vb_node.types import Floats, Mask, Matrix

WITH_LESION = 0.6
# the atlas is laid over a head with an error of some mm
REGISTRATION_MM = 3.0
# how far the middle of a crop lies from a voxel of the head's tumour
ASIDE_CELLS = 7.0


@dataclass(frozen=True, eq=False)
class Crop:
    """Input (5, 40, 40, 40) and lesion (1, 40, 40, 40)."""

    fields: Tensor
    lesion: Tensor


def make_crop(head: TrainingHead, rng: Generator, has_lesion: bool) -> Crop:
    """Cut, deform, draw, and acquire one crop; its lesion is the head's own tumour, or drawn into a healthy head."""
    points = _points(head, rng)
    atlas = _carry(points, head.atlas_from_index)
    error = np.eye(4)
    error[:3, 3] = rng.normal(0, REGISTRATION_MM / 3, 3)
    there = _carry(points, mirror_index(error @ head.atlas_from_index)) + _wobble(rng.uniform(0, 1), 14, rng)
    sides = [_sample(head, where) for where in ((points, there) if rng.random() < 0.5 else (there, points))]
    unit = head.white - head.fluid
    side, mirror = ((voxels - head.white) / unit for voxels, _, _ in sides)
    canvas = Canvas(side, mirror, sides[0][1])
    draw_distractors(canvas, rng)
    lesion = _draw_lesions(canvas, rng) if has_lesion and not head.has_tumour else sides[0][2] > 0.5
    outline = rng.normal(0, 0.8) + rng.uniform(0.3, 2.2) * smooth_noise(PATCH, 7, rng)
    voxels = [head.white + unit * field for field in _acquire([canvas.side, canvas.mirror], rng)]
    masks = [outside_mm < outline for _, outside_mm, _ in sides]
    masked = [np.where(mask, field, 0) for mask, field in zip(masks, voxels, strict=True)]
    shift = error[:3, 3, None, None, None].astype(np.float32)
    fields = stack_fields(masked[0], masked[1], atlas + shift)
    return Crop(torch.from_numpy(fields), torch.from_numpy((lesion & masks[0])[None].astype(np.float32)))


def _points(head: TrainingHead, rng: Generator) -> Floats:
    """Lay a turned, stretched and bent crop about a voxel of the brain, or near the tumour; indices (3, 40, 40, 40)."""
    inside = np.flatnonzero(head.lesion if head.has_tumour else head.outside_mm < 2)
    centre = np.array(np.unravel_index(int(rng.choice(inside)), head.voxels.shape), dtype=np.float64)
    if head.has_tumour:
        centre += rng.normal(0, ASIDE_CELLS, 3)
    turn = Rotation.from_euler("xyz", rng.normal(0, 8, 3), degrees=True).as_matrix() * rng.uniform(0.85, 1.15, 3)
    middle = (np.array(PATCH, dtype=np.float32) - 1) / 2
    offset = np.asarray(np.indices(PATCH) - middle[:, None, None, None], dtype=np.float32)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, centre
    return _carry(offset, affine) + _wobble(rng.uniform(0, 1.5), 8, rng)


def _wobble(voxels: float, scale: float, rng: Generator) -> Floats:
    """Draw a smooth displacement (3, 40, 40, 40)."""
    return np.stack([voxels * smooth_noise(PATCH, scale, rng) for _ in range(3)])


def _carry(points: Floats, affine: Matrix) -> Floats:
    turn, shift = affine[:3, :3].astype(np.float32), affine[:3, 3].astype(np.float32)
    return np.asarray(np.tensordot(turn, points, axes=1) + shift[:, None, None, None], dtype=np.float32)


def _sample(head: TrainingHead, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Read z-scores, distances and lesion at fractional indices."""
    last = np.array(head.voxels.shape, dtype=np.float32)[:, None, None, None] - 1
    where = torch.from_numpy(np.ascontiguousarray((points / last * 2 - 1)[::-1].transpose(1, 2, 3, 0)))[None]
    fields = torch.from_numpy(np.stack([head.voxels, head.outside_mm, head.lesion]))[None]
    sampled = functional.grid_sample(fields, where, padding_mode="border", align_corners=True)[0].numpy()
    voxels, outside_mm, lesion = sampled
    return voxels, outside_mm, lesion


def _draw_lesions(canvas: Canvas, rng: Generator) -> Mask:
    """Draw one lesion, or two, with its centre in the brain."""
    lesion = np.zeros(PATCH, dtype=np.bool_)
    # a lesion whose middle lies at the crop's edge is learned too, but rarely
    inside = np.flatnonzero(canvas.outside_mm < -2)
    for _ in range(1 + int(rng.random() < 0.15)):
        if inside.size:
            k, j, i = np.unravel_index(int(rng.choice(inside)), PATCH)
            lesion |= draw_lesion(canvas, (float(k), float(j), float(i)), rng)
    return lesion


def _acquire(sides: list[Floats], rng: Generator) -> list[Floats]:
    """Give both sides another contrast of tissues, shading, sharpness, slice thickness and noise."""
    grey = -0.45 + rng.uniform(-0.2, 0.25)
    stretch, high = rng.uniform(0.85, 1.15), rng.uniform(0.6, 1.4)
    knots = (-3, -1, -0.45, 0, 3), (-3 * stretch, -stretch, grey, 0, 3 * high)
    shading = 0.15 * rng.uniform(0, 1) * smooth_noise(PATCH, 25, rng)
    sharpness, noise = rng.uniform(-0.4, 1.0), rng.uniform(0, 0.15)
    thick, axis = int(rng.choice((1, 1, 1, 2, 3))), int(rng.integers(3))
    acquired = []
    for side in sides:
        field = np.interp(side, *knots).astype(np.float32) + shading
        field += sharpness * (field - ndimage.uniform_filter(field, 3))
        if thick > 1:
            field = ndimage.uniform_filter1d(field, thick, axis=axis)
        field += noise / np.sqrt(thick) * rng.standard_normal(PATCH, dtype=np.float32)
        acquired.append(field)
    return acquired
