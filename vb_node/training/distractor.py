"""What is mistaken for a lesion, drawn into a crop: vessels, sheets of dura, rims, pairs, and dark spots."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vb_node.training.drawn_lesion import STEP_MM, Canvas
from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats


def draw_distractors(canvas: Canvas, rng: Generator) -> None:
    """Draw a few into a crop, before any lesion."""
    for _ in range(int(rng.poisson(3))):
        _DRAWERS[int(rng.integers(len(_DRAWERS)))](canvas, rng)


def _draw_vessel(canvas: Canvas, rng: Generator) -> None:
    """Draw a bent tube up to 4 mm wide; the mirror image has none, or one elsewhere."""
    start, bend, end = (rng.uniform(-4, np.array(canvas.shape) + 4) for _ in range(3))
    t = np.linspace(0, 1, 160)[:, None]
    course = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    reach = rng.uniform(0.4, 1.0)
    offsets = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.rint(course[:, None] + offsets[np.linalg.norm(offsets, axis=1) <= reach]).astype(int).reshape(-1, 3)
    inside = tuple(index[((index >= 0) & (index < canvas.shape)).all(axis=1)].T)
    side = canvas.side if rng.random() < 0.7 else canvas.mirror
    side[inside] = np.maximum(side[inside], rng.uniform(0.2, 1.6))


def _draw_sheet(canvas: Canvas, rng: Generator) -> None:
    """Draw a piece of a bent sheet, one or two voxels thick: dura, falx, tentorium."""
    normal = rng.standard_normal(3)
    normal /= np.linalg.norm(normal)
    axes = [np.arange(n) - rng.uniform(0, n) for n in canvas.shape]
    height = normal[0] * axes[0][:, None, None] + normal[1] * axes[1][:, None] + normal[2] * axes[2]
    height = height + rng.uniform(0.5, 2) * smooth_noise(canvas.shape, 14, rng)
    part = smooth_noise(canvas.shape, 12, rng) > rng.uniform(-1, 0.5)
    where = (np.abs(height) < rng.uniform(0.4, 1.0)) & part
    canvas.side[where] = np.maximum(canvas.side[where], rng.uniform(0.1, 1.2))


def _draw_rim(canvas: Canvas, rng: Generator) -> None:
    """Brighten some of the brain's edge: dura, cortical veins and scalp that brain extraction left in."""
    for side in (canvas.side, canvas.mirror)[: int(rng.integers(1, 3))]:
        where = (canvas.outside_mm > -rng.uniform(1, 5)) & (smooth_noise(canvas.shape, 10, rng) > rng.uniform(-0.5, 1))
        side[where] = np.maximum(side[where], rng.uniform(0.1, 1.4))


def _draw_pair(canvas: Canvas, rng: Generator) -> None:
    """Draw a small bright mass on both sides, alike but not equal: choroid plexus, glands, sinuses."""
    centre, radius_mm, value = rng.uniform(0, canvas.shape), rng.uniform(2, 6), rng.uniform(0.2, 1.5)
    for side in (canvas.side, canvas.mirror):
        level = _distance(canvas.shape, centre + rng.normal(0, 1, 3)) / (radius_mm * rng.uniform(0.75, 1.3) / STEP_MM)
        weight = np.clip((1 - level) / 0.4 + 0.5, 0, 1)
        side[...] += weight * (value * rng.uniform(0.75, 1.25) - side)


def _draw_dark_spot(canvas: Canvas, rng: Generator) -> None:
    """Darken a spot without any enhancement: a lacune, a wide sulcus, gliosis."""
    level = _distance(canvas.shape, rng.uniform(0, canvas.shape)) / (rng.uniform(2, 10) / STEP_MM)
    level = level / (1 + 0.2 * smooth_noise(canvas.shape, 4, rng).clip(-2, 2))
    weight = np.clip((1 - level) / rng.uniform(0.2, 1) + 0.5, 0, 1)
    canvas.side[...] += weight * np.minimum(rng.uniform(-1, -0.15) - canvas.side, 0)


def _distance(shape: tuple[int, int, int], centre: NDArray[np.float64]) -> Floats:
    k, j, i = ((np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True))
    return np.asarray(np.sqrt(k[:, None, None] + j[:, None] + i), dtype=np.float32)


_DRAWERS: tuple[Callable[[Canvas, Generator], None], ...] = (
    _draw_vessel,
    _draw_vessel,
    _draw_sheet,
    _draw_rim,
    _draw_pair,
    _draw_dark_spot,
)
