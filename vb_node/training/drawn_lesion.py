"""Lesions and what is mistaken for one, drawn into a crop of 2 mm in a few milliseconds.

Values are in the unit of ``evidence.py``: 0 is normal white matter, -1 fluid, and 0.3 a faint but clear enhancement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats, Mask

STEP_MM = 2.0


@dataclass(frozen=True, eq=False)
class Canvas:
    """A crop that is drawn on: enhancement of the side that is looked at and of its mirror image."""

    side: Floats
    mirror: Floats
    outside_mm: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        k, j, i = self.side.shape
        return k, j, i


Point = tuple[float, float, float]
Painter = Callable[[Floats, Floats, float, Generator], None]


def draw_lesion(canvas: Canvas, centre: Point, rng: Generator) -> Mask:
    """Draw one lesion (voxels from the crop's corner); give what a reader would outline, without the oedema."""
    radius_mm = float(np.exp(rng.uniform(np.log(3.5), np.log(18))))
    level = _level(canvas.shape, centre, radius_mm, rng)
    painter = _PAINTERS[int(rng.choice(len(_PAINTERS), p=_SHARES))]
    painter(canvas.side, level, radius_mm, rng)
    return np.asarray((level < 1) & (canvas.outside_mm < 1))


def _level(shape: tuple[int, int, int], centre: Point, radius_mm: float, rng: Generator) -> Floats:
    """Give the distance over an irregular radius: below 1 is inside; some are a few nodules."""
    level = _ball(shape, centre, radius_mm, rng)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            beside = tuple(c + radius_mm / STEP_MM * rng.normal(0, 0.7) for c in centre)
            level = np.minimum(level, _ball(shape, beside, radius_mm * rng.uniform(0.4, 0.8), rng))  # type: ignore[arg-type]
    wobble = 1 + rng.uniform(0.05, 0.3) * smooth_noise(shape, rng.uniform(2, 5), rng).clip(-2, 2)
    return np.asarray(level / wobble, dtype=np.float32)


def _ball(shape: tuple[int, int, int], centre: Point, radius_mm: float, rng: Generator) -> Floats:
    """Give the distance from a point over an ellipsoid's radius."""
    stretch = rng.uniform(0.75, 1.3, 3) * radius_mm / STEP_MM
    k, j, i = (((np.arange(n) - c) / s) ** 2 for n, c, s in zip(shape, centre, stretch, strict=True))
    return np.asarray(np.sqrt(k[:, None, None] + j[:, None] + i), dtype=np.float32)


def _blend(side: Floats, weight: Floats, value: NDArray[np.floating] | float) -> None:
    side += weight * (value - side)


def _within(level: Floats, edge: float, softness: float) -> Floats:
    """Go from 1 below ``edge`` to 0 above, within ``softness``."""
    return np.asarray(np.clip((edge - level) / softness + 0.5, 0, 1), dtype=np.float32)


def _texture(level: Floats, roughness: float, rng: Generator) -> Floats:
    k, j, i = level.shape
    return roughness * smooth_noise((k, j, i), rng.uniform(1.5, 4), rng)


def _softness(radius_mm: float) -> float:
    """Give an edge about one voxel wide."""
    return min(STEP_MM / radius_mm, 0.5)


def _oedema(side: Floats, level: Floats, depth: float, rng: Generator) -> None:
    around = _within(level, rng.uniform(1.3, 2.2), 0.6) * rng.uniform(0.5, 1)
    _blend(side, around, np.minimum(side, -depth))


def _paint_solid(side: Floats, level: Floats, radius_mm: float, rng: Generator) -> None:
    if rng.random() < 0.5:
        _oedema(side, level, rng.uniform(0.15, 0.6), rng)
    _blend(side, _within(level, 1, _softness(radius_mm)), rng.uniform(0.15, 1.3) + _texture(level, 0.1, rng))


def _paint_ring(side: Floats, level: Floats, radius_mm: float, rng: Generator) -> None:
    if rng.random() < 0.7:
        _oedema(side, level, rng.uniform(0.15, 0.7), rng)
    _blend(side, _within(level, 1, _softness(radius_mm)), rng.uniform(0.15, 1.3) + _texture(level, 0.12, rng))
    core = _within(level + _texture(level, 0.05, rng), rng.uniform(0.45, 0.85), _softness(radius_mm))
    _blend(side, core, rng.uniform(-0.9, -0.1))


def _paint_faint_ring(side: Floats, level: Floats, radius_mm: float, rng: Generator) -> None:
    """Draw a rim no brighter than white matter, which shows by its dark core and dark surroundings alone."""
    depth = rng.uniform(0.3, 0.75)
    _oedema(side, level, depth, rng)
    _blend(side, _within(level, 1, _softness(radius_mm)), rng.uniform(-depth + 0.25, 0.3) + _texture(level, 0.06, rng))
    _blend(side, _within(level, rng.uniform(0.4, 0.75), _softness(radius_mm)), -depth - rng.uniform(0, 0.3))


def _paint_patches(side: Floats, level: Floats, radius_mm: float, rng: Generator) -> None:
    inside = _within(level, 1, _softness(radius_mm))
    _oedema(side, level, rng.uniform(0.2, 0.6), rng)
    lit = (_texture(level, 1, rng) > rng.uniform(-0.8, 0.5)).astype(np.float32)
    _blend(side, inside, np.where(lit > 0, rng.uniform(0.15, 1.1), rng.uniform(-0.6, -0.1)).astype(np.float32))


def _paint_cyst_with_nodule(side: Floats, level: Floats, radius_mm: float, rng: Generator) -> None:
    _blend(side, _within(level, 1, _softness(radius_mm)), rng.uniform(-1, -0.6))
    place = np.unravel_index(int(np.abs(level - rng.uniform(0.5, 0.9)).argmin()), level.shape)  # on its wall
    k, j, i = level.shape
    nodule = _ball((k, j, i), tuple(float(p) for p in place), max(0.4 * radius_mm, 3), rng)  # type: ignore[arg-type]
    _blend(side, _within(nodule, 1, 0.4) * (level < 1.1), rng.uniform(0.2, 1.2))


_PAINTERS: tuple[Painter, ...] = (_paint_solid, _paint_ring, _paint_faint_ring, _paint_patches, _paint_cyst_with_nodule)
_SHARES = (0.35, 0.25, 0.2, 0.15, 0.05)
