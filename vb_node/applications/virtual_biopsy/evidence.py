"""What in a head speaks for a lesion: maps of excess, asymmetry and blobs, and the sum of the evidence about one piece.

A lesion shows as brighter than white matter, because it takes up contrast agent, or as darker: cysts, haemosiderin.
Each kind has maps and weights of its own. Nothing here is a ban: a normal structure's place, a thin shape or the
brain's edge only count against a piece. docs/virtual-biopsy-localizer.md gives the reason of every number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from scipy import ndimage

from vb_node.applications.virtual_biopsy.normal_structures import normal_fluid, normal_uptake
from vb_node.pipeline.atlas import atlas
from vb_node.pipeline.crop import Where, bounding_box, crop_grid, paste
from vb_node.pipeline.symmetry import mirrored
from vb_node.types import Floats, Grid, Mask, Matrix, StandardVolume

# anatomy is never quite symmetric: uptake counts as one-sided if the other side has none within half of this
TOLERANCE_MM = 7
MIDLINE_MM = 10.0
BLOB_SIGMAS_MM = (2.0, 3.0, 4.5, 6.5)
# a sinus, plexus or gland is normal up to 10 mm thick (inscribed radius 5) and a mass from 15 mm on
NORMAL_RADIUS_MM, MASS_RADIUS_MM = 5.0, 7.5


@dataclass(frozen=True)
class Ramp:
    """Evidence that grows from nothing at ``low`` to ``weight`` (log-odds) at ``high``."""

    low: float
    high: float
    weight: float

    def __call__(self, value: float) -> float:
        return self.weight * float(np.clip((value - self.low) / (self.high - self.low), 0, 1))


BIAS = -9.6
WEIGHTS = {
    "excess": Ramp(0.1, 0.5, 4.0),
    "contrast": Ramp(0.2, 0.7, 2.0),
    "log_ml": Ramp(-0.7, 0.5, 4.0),
    "radius_mm": Ramp(2.0, 5.0, 2.0),
    "compactness": Ramp(0.25, 0.6, 1.0),
    "asymmetry": Ramp(0.2, 0.7, 2.0),
    "blob": Ramp(0.1, 0.5, 1.0),
    "two_sided": Ramp(0.3, 0.9, -3.5),
    "normal": Ramp(0.1, 0.8, -3.5),
    "outside_brain": Ramp(0.1, 0.45, -4.0),
    "at_edge": Ramp(0.3, 0.9, -2.0),
}
# grey matter is dark by about 0.4, fluid by 1
DARK_WEIGHTS = WEIGHTS | {"excess": Ramp(0.5, 0.8, 4.0), "normal": Ramp(0.1, 0.3, -6.0)}


@dataclass(frozen=True, eq=False)
class Kind:
    """One way in which a lesion shows: brighter (``sign`` 1) or darker (-1) than white matter.

    ``normal`` tells how well normal anatomy explains points (n, 3) of the atlas and a thickness (inscribed radius, mm).
    """

    sign: int
    weights: dict[str, Ramp]
    normal: Callable[[Matrix, float], float]


def _explained_by_uptake(points: Matrix, radius_mm: float) -> float:
    thin = np.clip((MASS_RADIUS_MM - radius_mm) / (MASS_RADIUS_MM - NORMAL_RADIUS_MM), 0, 1)
    return float(normal_uptake(points).mean() * thin)


def _explained_by_fluid(points: Matrix, _radius_mm: float) -> float:
    return float(normal_fluid(points).mean())


ENHANCING = Kind(1, WEIGHTS, _explained_by_uptake)
DARK = Kind(-1, DARK_WEIGHTS, _explained_by_fluid)


@dataclass(frozen=True, eq=False)
class Maps:
    """What one head shows of one kind of lesion, in a box about its brain.

    ``excess`` is 0 for normal white matter and 1 for as much brighter (or darker) as fluid is darker; ``asymmetry``
    what of it the other side has not; ``blob`` the strongest scale-normalised LoG; ``depth_mm`` the distance to the
    brain's edge. ``where`` is the box in the volume, ``grid`` the volume's, ``atlas_from_patient`` its affine.
    """

    kind: Kind
    excess: Floats
    asymmetry: Floats
    blob: Floats
    brain: Mask
    depth_mm: Floats
    where: Where
    grid: Grid
    atlas_from_patient: Matrix

    def to_atlas(self, index_kji: Matrix) -> Matrix:
        """Map indices of the box (n, 3) to MNI152 LPS mm (n, 3)."""
        lps = self.grid.to_lps(index_kji + [s.start for s in self.where])
        return np.asarray(lps @ self.atlas_from_patient[:3, :3].T + self.atlas_from_patient[:3, 3])


def score_of(evidence: dict[str, float], kind: Kind = ENHANCING) -> float:
    """Add the evidence up (log-odds) to a score, 0-1 and not calibrated."""
    log_odds = BIAS + sum(ramp(evidence[name]) for name, ramp in kind.weights.items())
    return float(1 / (1 + np.exp(-log_odds)))


@lru_cache(maxsize=2)
def draw_maps(standard: StandardVolume, kind: Kind = ENHANCING) -> Maps:
    """Measure excess, asymmetry and blobs about the brain; a volume's maps are drawn once."""
    where, brightness, depth_mm = _brightness_and_depth(standard)
    brain = standard.brain[where]
    whole = kind.sign * brightness
    other_side = ndimage.grey_dilation(mirrored(standard, whole, where), TOLERANCE_MM)
    one_sided = whole[where] - np.maximum(ndimage.gaussian_filter(other_side, 1), 0)
    return Maps(
        kind=kind,
        excess=whole[where],
        asymmetry=np.where(brain, one_sided, 0).astype(np.float32),
        blob=np.where(brain, _blobs(np.clip(whole[where], -0.5, 1.5)), 0).astype(np.float32),
        brain=brain,
        depth_mm=depth_mm,
        where=where,
        grid=standard.grid,
        atlas_from_patient=standard.atlas_from_patient,
    )


_MEASURING = Lock()  # kinds may be drawn at the same time


def _brightness_and_depth(standard: StandardVolume) -> tuple[Where, Floats, Floats]:
    """Give what both kinds are drawn from, measured once.

    The box about the brain; 0 for white matter and -1 for fluid, on the whole grid; depth in the brain, in the box.
    """
    with _MEASURING:
        return _measure(standard)


@lru_cache(maxsize=1)
def _measure(standard: StandardVolume) -> tuple[Where, Floats, Floats]:
    where = bounding_box(standard.brain, margin=2)
    voxels, brain = standard.voxels[where], standard.brain[where]
    atlas_from_index = standard.atlas_from_patient @ crop_grid(standard.grid, where).affine_lps
    white, darker = _white_and_fluid(voxels, brain, atlas_from_index)
    smooth = ndimage.gaussian_filter(voxels, 1)
    brightness = np.where(brain, (smooth - white) / darker, 0).astype(np.float32)
    depth_mm = ndimage.distance_transform_edt(brain).astype(np.float32)
    return where, paste(brightness, where, standard.grid.shape), depth_mm


def _white_and_fluid(voxels: Floats, brain: Mask, atlas_from_index: Matrix) -> tuple[Floats, float]:
    """Read the level of normal white matter, voxel by voxel, and how much darker fluid is."""
    inner = ndimage.binary_erosion(brain, iterations=6)
    inner = inner if inner.any() else brain
    mni = atlas(2)
    index = np.linalg.inv(mni.grid.affine_lps) @ atlas_from_index
    expected = ndimage.affine_transform(mni.white, index[:3, :3], index[:3, 3], output_shape=inner.shape, order=1) > 0.8
    is_white = inner & expected if (inner & expected).sum() > 1000 else inner
    white = _smooth_level(voxels, is_white)
    darker = float(np.median(voxels[is_white]) - np.percentile(voxels[inner], 2))
    return white, max(darker, 0.5)


def _smooth_level(voxels: Floats, where: Mask) -> Floats:
    """Fit the level of a tissue by a quadric: bias correction leaves some shading, and it looks like faint uptake."""
    index = np.argwhere(where)
    index = index[:: max(len(index) // 20000, 1)]
    values = voxels[tuple(index.T)]
    terms = np.stack(_quadric(*(at / n - 0.5 for at, n in zip(index.T, voxels.shape, strict=True))), axis=1)
    is_typical = np.ones(len(values), dtype=np.bool_)
    for _ in range(4):
        weights = np.linalg.lstsq(terms[is_typical], values[is_typical], rcond=None)[0]
        rest = values - terms @ weights
        # a lesion and its oedema are far from the level, and must not bend it
        is_typical = np.abs(rest - np.median(rest)) < 2.5 * np.median(np.abs(rest - np.median(rest)))
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) / n - 0.5 for n in voxels.shape), indexing="ij", sparse=True)
    level = np.zeros(voxels.shape, dtype=np.float32)
    for weight, term in zip(weights, _quadric(*axes), strict=True):
        level += np.float32(weight) * term
    return level


def _quadric(k: Floats, j: Floats, i: Floats) -> list[Floats]:
    return [np.ones_like(k), k, j, i, k * k, j * j, i * i, k * j, k * i, j * i]


def _blobs(excess: Floats) -> Floats:
    """Take the strongest answer of all scales; at 2 mm, an eighth of the work, for the smallest blob is wider."""
    coarse = excess[::2, ::2, ::2]
    blob = np.max([-((s / 2) ** 2) * ndimage.gaussian_laplace(coarse, s / 2) for s in BLOB_SIGMAS_MM], axis=0)
    return np.asarray(ndimage.affine_transform(blob, [0.5] * 3, output_shape=excess.shape, order=1, mode="nearest"))


def weigh(where: Where, mask: Mask, maps: Maps) -> dict[str, float]:
    """Gather what speaks for and against one piece: its mask in a box of the maps with some room about it."""
    excess, brain = maps.excess[where], maps.brain[where]
    near = ndimage.binary_dilation(mask, iterations=2)
    shell = ndimage.binary_dilation(near, iterations=3) & ~near
    around = excess[shell & brain]
    # the half that stands out: a necrotic core must not hide its rim, nor a nodule its cyst
    lit = excess[mask]
    lit = lit[lit >= np.median(lit)]
    radius_mm = float(ndimage.distance_transform_edt(mask).max())
    asymmetry = float(np.clip(maps.asymmetry[where][mask], 0, None).mean() / max(lit.mean(), 0.1))
    points = _sample(where, mask, maps)
    off_midline = float((np.abs(points[:, 0]) > MIDLINE_MM).mean())
    return {
        "excess": float(lit.mean()),
        "contrast": float(lit.mean() - np.median(around)) if around.size else 0.0,
        "log_ml": float(np.log10(mask.sum() / 1000)),
        "radius_mm": radius_mm,
        "compactness": radius_mm / float(np.cbrt(0.75 / np.pi * mask.sum())),
        "asymmetry": asymmetry,
        "blob": float(np.percentile(maps.blob[where][mask], 95)),
        # on the midline the mirror image is the thing itself and says nothing
        "two_sided": off_midline * max(1 - 2 * asymmetry, 0.0),
        "normal": maps.kind.normal(points, radius_mm),
        "outside_brain": 1 - float(brain[shell].mean()) if shell.any() else 0.0,
        "at_edge": float((maps.depth_mm[where][mask] < 5).mean()),
    }


def _sample(where: Where, mask: Mask, maps: Maps) -> Matrix:
    """Give some of a piece's voxels (n, 3) in MNI152 LPS mm."""
    index = np.argwhere(mask)
    return maps.to_atlas(index[:: max(len(index) // 400, 1)] + [s.start for s in where])
