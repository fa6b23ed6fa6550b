"""A small head with one lesion, and a detector as weak as VLMs are known to be (docs/virtual-biopsy-localizer.md)."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from vb_node.pipeline.prior import Box
from vb_node.types import Floats, Grid, Mask, Matrix, StandardVolume

SIDE = 72
BRAIN_MM = np.array([31.0, 33.0, 28.0])


@dataclass(frozen=True)
class SmallHead:
    """A standardised volume of 72^3 voxels and its lesion."""

    standard: StandardVolume
    lesion: Mask


def small_head(seed: int, *, has_lesion: bool = True) -> SmallHead:
    """Paint a brain with ventricles, ten vessels and an irregular solid or ring lesion of 5 to 9 mm radius."""
    rng = np.random.default_rng(seed)
    offset = np.stack(np.meshgrid(*[np.arange(SIDE) - (SIDE - 1) / 2] * 3, indexing="ij"))
    brain = ((offset / BRAIN_MM[:, None, None, None]) ** 2).sum(axis=0) < 1
    signal = 1 + 0.05 * _noise(rng, 3) + 0.06 * rng.standard_normal(brain.shape)
    for side in (-1, 1):
        signal[_ball(offset, (0, 2, 5 * side), (5, 12, 3)) < 1] = 0.4
    for _ in range(10):
        _paint_vessel(signal, rng)
    lesion = _paint_lesion(signal, offset, rng) & brain if has_lesion else np.zeros_like(brain)
    inside = signal[brain]
    voxels = np.where(brain, (signal - inside.mean()) / inside.std(), 0).astype(np.float32)
    return SmallHead(StandardVolume(voxels, _grid(), brain, _atlas_from_patient()), lesion)


def _noise(rng: np.random.Generator, sigma: float) -> Floats:
    smooth = ndimage.gaussian_filter(rng.standard_normal((SIDE,) * 3), sigma)
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def _ball(offset: Floats, centre: tuple[float, ...], radii: tuple[float, ...]) -> Floats:
    moved = (offset - np.array(centre)[:, None, None, None]) / np.array(radii)[:, None, None, None]
    return np.asarray(np.sqrt((moved**2).sum(axis=0)))


def _paint_vessel(signal: Floats, rng: np.random.Generator) -> None:
    """Draw a bright wandering tube, about 2 mm wide."""
    place, direction = rng.uniform(12, SIDE - 12, 3), rng.standard_normal(3)
    for _ in range(30):
        direction += 0.4 * rng.standard_normal(3)
        place = place + direction / np.linalg.norm(direction)
        k, j, i = np.clip(np.rint(place).astype(int), 1, SIDE - 2)
        signal[k : k + 2, j : j + 2, i : i + 2] = 1.8


def _paint_lesion(signal: Floats, offset: Floats, rng: np.random.Generator) -> Mask:
    radius = rng.uniform(5, 9)
    side = rng.choice((-1.0, 1.0))
    centre = (rng.uniform(-8, 8), rng.uniform(-10, 10), side * rng.uniform(12, 17))
    level = _ball(offset, centre, (radius,) * 3) / (1 + 0.12 * _noise(rng, 4))
    signal[level < 1] += rng.uniform(0.4, 0.7)
    if rng.random() < 0.5:
        signal[level < 0.55] = 0.5
    return np.asarray(level < 1)


def _grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    affine[:3, 3] = -(SIDE - 1) / 2
    return Grid((SIDE, SIDE, SIDE), affine, "2.25.1")


def _atlas_from_patient() -> Matrix:
    affine = np.diag([2.4, 2.6, 2.3, 1.0])
    affine[:3, 3] = 0, 18, 8
    return affine


class SimulatedVlm:
    """Box the true lesion as a VLM would: recall 0.7 a slice, edges off by 25 % of size, 12 % false boxes elsewhere."""

    claim_score = 0.5
    knows_dark = False

    def __init__(self, lesion: Mask, seed: int) -> None:
        self.lesion, self.seed = lesion, seed

    def detect(self, standard: StandardVolume) -> list[Box]:
        rng = np.random.default_rng(self.seed)
        boxes = [self._box(int(k), standard, rng) for k in np.flatnonzero(standard.brain.sum(axis=(1, 2)) > 300)]
        return [box for box in boxes if box is not None]

    def _box(self, k: int, standard: StandardVolume, rng: np.random.Generator) -> Box | None:
        section = self.lesion[k]
        if not section.any():
            return _false_box(k, rng) if rng.random() < 0.12 else None
        # small cross-sections are missed more often
        if rng.random() > 0.7 * min(1, section.sum() / 80):
            return None
        rows, columns = np.flatnonzero(section.any(axis=1)), np.flatnonzero(section.any(axis=0))
        edges = np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1], dtype=float)
        size = np.repeat([edges[1] - edges[0], edges[3] - edges[2]], 2)
        j0, j1, i0, i1 = np.rint(edges + 0.25 * size * rng.uniform(-1, 1, 4)).astype(int)
        return Box(int(k), j0, max(j1, j0 + 2), i0, max(i1, i0 + 2))


def _false_box(k: int, rng: np.random.Generator) -> Box:
    (j, i), (height, width) = rng.integers(15, SIDE - 25, 2), rng.integers(6, 16, 2)
    return Box(int(k), int(j), int(j + height), int(i), int(i + width))


class CentralBoxes:
    """Box the middle of the image on every slice, as untrained VLMs do (arXiv 2509.10683).

    What touches ``lesion`` is left out, so that every box is false. The boxes are alike, or ``are_varied`` in size.
    """

    claim_score = 0.5
    knows_dark = False

    def __init__(self, lesion: Mask | None = None, *, are_varied: bool = False) -> None:
        self.lesion, self.are_varied = lesion, are_varied

    def detect(self, standard: StandardVolume) -> list[Box]:
        rng = np.random.default_rng(0)
        slices, rows, columns = standard.grid.shape
        boxes = []
        for k in range(slices // 4, 3 * slices // 4, 2):
            j, i = (int(middle + rng.integers(-3, 4)) for middle in (rows // 2, columns // 2))
            half = int(rng.integers(6, 13)) if self.are_varied else 9
            if self.lesion is None or not self.lesion[k, j - half : j + half, i - half : i + half].any():
                boxes.append(Box(k, j - half, j + half, i - half, i + half, 0.9))
        return boxes
