"""Enhancing structures that are no tumour: dural sinuses, veins, arteries, choroid plexus and the pituitary gland.

Paths are LPS mm (x, y, z) on the template, drawn by hand from its anatomy and jittered in each case.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vb_node.training.anatomy import CORNER_ZYX, HEAD_SHAPE, Contrast, load_head
from vb_node.types import Floats, Matrix

Path = Sequence[tuple[float, float, float]]

MIDLINE: dict[str, tuple[float, Path]] = {
    "superior sagittal sinus": (3.2, [(0, -66, 20), (0, -48, 55), (0, 0, 82), (0, 50, 75), (0, 95, 40), (0, 106, 5)]),
    "straight sinus": (1.8, [(0, 42, 8), (0, 70, 2), (0, 100, -4)]),
    "vein of Galen": (1.8, [(0, 18, 16), (0, 32, 14), (0, 42, 8)]),
    "basilar artery": (1.6, [(0, 24, -62), (0, 14, -44), (0, 14, -26)]),
}
PAIRED: dict[str, tuple[float, Path]] = {
    "transverse and sigmoid sinus": (2.8, [(2, 102, -8), (38, 90, -18), (60, 55, -26), (50, 42, -48), (36, 32, -70)]),
    "internal carotid artery": (2.2, [(24, 10, -80), (22, 2, -50), (14, 2, -34), (14, -6, -22)]),
    "middle cerebral artery": (1.4, [(14, -6, -20), (30, -4, -18), (42, 4, -8), (46, 22, 4)]),
    "anterior cerebral artery": (1.1, [(13, -6, -20), (3, -20, -14), (3, -38, 4), (3, -20, 32)]),
    "posterior cerebral artery": (1.2, [(2, 14, -24), (20, 24, -14), (22, 48, -6)]),
    "internal cerebral vein": (1.0, [(3, -2, 14), (3, 10, 17), (2, 24, 16)]),
    "choroid plexus": (2.4, [(22, 38, 12), (25, 44, 6), (30, 36, -6)]),
}
PITUITARY: tuple[float, Path] = (4.0, [(-3, -2, -34), (3, -2, -34)])


def paint_vessels(signal: Floats, contrast: Contrast, rng: Generator) -> None:
    """Draw this head's vessels into ``signal`` (head box, in place)."""
    for radius_mm, path in MIDLINE.values():
        _draw(signal, path, radius_mm * rng.uniform(0.7, 1.2), contrast.vessel, rng)
    for name, (radius_mm, path) in PAIRED.items():
        for side in (1, -1):
            level = contrast.choroid if name == "choroid plexus" else contrast.vessel
            mirrored = [(side * x, y, z) for x, y, z in path]
            _draw(signal, mirrored, radius_mm * rng.uniform(0.6, 1.2), level * rng.uniform(0.85, 1.1), rng)
    _draw(signal, PITUITARY[1], PITUITARY[0] * rng.uniform(0.7, 1.1), contrast.choroid, rng)
    for _ in range(int(rng.integers(8, 24))):
        _draw(signal, _cortical_vein(rng), rng.uniform(0.6, 1.3), contrast.vessel * rng.uniform(0.7, 1), rng)


def _cortical_vein(rng: Generator) -> Path:
    """Walk from somewhere on the convexity towards the superior sagittal sinus, along the brain's surface."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9)
    steps = np.linspace(elevation, min(elevation + rng.uniform(0.3, 0.8), 1.5), 6)
    return [_surface_point(azimuth + 0.15 * rng.standard_normal(), float(angle)) for angle in steps]


def _surface_point(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Find where a ray from the brain's middle leaves the closed brain surface, in LPS mm."""
    ray = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    points = np.array([0.0, 18.0, 10.0]) + np.arange(30, 110)[:, None] * ray
    index = np.clip(_index(points), 0, np.array(HEAD_SHAPE) - 1)
    outside = load_head().outside_mm[tuple(index.T)] > 0.5
    x, y, z = points[int(outside.argmax()) if outside.any() else -1]
    return float(x), float(y), float(z)


def _draw(signal: Floats, path: Path, radius_mm: float, level: float, rng: Generator) -> None:
    """Draw a tube along a jittered path; its wall takes half the level, which stands for partial volume."""
    corners = np.asarray(path, dtype=np.float64) + rng.normal(0, 1.2, (len(path), 3))
    centres = _resample(corners)
    for reach, share in ((radius_mm + 0.6, 0.5), (radius_mm, 1.0)):
        index = _index((centres[:, None] + _ball(reach)).reshape(-1, 3))
        inside = tuple(index[((index >= 0) & (index < HEAD_SHAPE)).all(axis=1)].T)
        signal[inside] = np.maximum(signal[inside], share * level)


def _resample(corners: Matrix) -> Matrix:
    """Lay points every 0.7 mm along a polyline."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.arange(0, length[-1], 0.7)
    return np.stack([np.interp(at, length, corners[:, axis]) for axis in range(3)], axis=1)


def _ball(radius_mm: float) -> Matrix:
    """Give the offsets within a radius."""
    reach = int(np.ceil(radius_mm))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(offsets[(offsets**2).sum(axis=1) <= radius_mm**2], dtype=np.float64)


def _index(points_lps: Matrix) -> NDArray[np.int64]:
    """Map LPS mm (n, 3) to voxels of the head box, [k, j, i]."""
    return np.asarray(np.rint(points_lps[:, ::-1] - np.array(CORNER_ZYX)), dtype=np.int64)
