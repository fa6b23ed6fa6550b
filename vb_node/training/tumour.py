"""Four kinds of deep-seated tumour, painted with the appearance the literature gives each after contrast agent.

docs/virtual-biopsy-diagnoser.md cites the sources. A lesion's mask is what a reader would outline: enhancing parts,
necrosis and cysts, without the oedema.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vb_node.training.anatomy import CORNER_ZYX, HEAD_SHAPE, Contrast, load_head
from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats, Mask

# Half the side of the box in which one lesion is painted: the largest lesion, its oedema and the reach of its lobes.
REACH_MM = 46

# LPS mm (x, y, z) on the template; x is mirrored at random.
SITES = {
    "thalamus": (12.0, 19.0, 8.0),
    "basal ganglia": (24.0, -4.0, 4.0),
    "midbrain": (4.0, 22.0, -12.0),
    "pons": (3.0, 26.0, -32.0),
    "pineal region": (0.0, 31.0, 2.0),
    "periventricular white matter": (26.0, 20.0, 24.0),
    "corpus callosum": (6.0, 38.0, 18.0),
}


@dataclass(frozen=True, eq=False)
class Patch:
    """One lesion's neighbourhood: a box of the head, and distances in it.

    ``signal`` and ``white`` are (2 REACH_MM + 1)^3 views and arrays; ``offset_mm`` stacks z, y, x from the centre.
    """

    signal: Floats
    white: Floats
    offset_mm: Floats
    mask: Mask


Painter = Callable[[Patch, Contrast, Generator], None]


def paint_tumour(signal: Floats, tumour_class: str, contrast: Contrast, rng: Generator) -> tuple[Mask, str]:
    """Paint one tumour into ``signal`` (head box, in place); give its mask and the name of its site."""
    painter, sites = CLASSES[tumour_class]
    site = str(rng.choice(sites))
    mask = np.zeros(HEAD_SHAPE, dtype=np.bool_)
    where = _box(site, rng)
    offset_mm = np.stack(np.meshgrid(*[np.arange(-REACH_MM, REACH_MM + 1, dtype=np.float32)] * 3, indexing="ij"))
    patch = Patch(signal[where], load_head().white[where], offset_mm, mask[where])
    painter(patch, contrast, rng)
    patch.mask[...] &= load_head().brain[where]
    return mask, site


def _box(site: str, rng: Generator) -> tuple[slice, ...]:
    """Cut the box about a jittered site, on either side."""
    x, y, z = np.array(SITES[site]) * (rng.choice((-1, 1)), 1, 1) + rng.normal(0, 2.5, 3)
    centre = np.rint(np.array([z, y, x]) - CORNER_ZYX).astype(int)
    return tuple(slice(c - REACH_MM, c + REACH_MM + 1) for c in centre)


def _level(patch: Patch, radius_mm: float, roughness: float, scale: float, rng: Generator) -> Floats:
    """Give the distance from the centre over an irregular, ellipsoidal radius: below 1 is inside."""
    axes = rng.uniform(0.78, 1.22, 3).astype(np.float32)[:, None, None, None]
    distance = np.sqrt(((patch.offset_mm / axes) ** 2).sum(axis=0))
    wobble = 1 + roughness * smooth_noise(_shape(patch), scale, rng).clip(-2, 2)
    return np.asarray(distance / (radius_mm * wobble), dtype=np.float32)


def _shape(patch: Patch) -> tuple[int, int, int]:
    side = 2 * REACH_MM + 1
    return side, side, side


def _fill(patch: Patch, where: Floats, value: NDArray[np.floating] | float) -> None:
    """Blend a value into the signal by a weight of 0 to 1."""
    weight = where * (patch.signal > 0.05)
    patch.signal[...] += weight * (value - patch.signal)


def _step(level: Floats, edge: float, softness: float) -> Floats:
    """Go from 1 below ``edge`` to 0 above, within ``softness``."""
    return np.asarray(np.clip((edge - level) / softness + 0.5, 0, 1), dtype=np.float32)


def _oedema(patch: Patch, level: Floats, reach: float, depth: float, contrast: Contrast) -> None:
    """Darken the white matter around a lesion, towards grey matter."""
    weight = _step(level, reach, 0.5) * patch.white * depth
    _fill(patch, weight, 0.85 * contrast.grey)


def paint_glioma(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint an irregular ring about a necrotic core, or patchy enhancement, in heterogeneous tissue with oedema."""
    radius_mm = rng.uniform(8, 21)
    level = _level(patch, radius_mm, rng.uniform(0.16, 0.3), rng.uniform(6, 10), rng)
    _oedema(patch, level, rng.uniform(1.5, 2.1), rng.uniform(0.5, 1), contrast)
    texture = smooth_noise(_shape(patch), rng.uniform(2.5, 4.5), rng)
    inside = _step(level, 1, 0.15)
    enhancement = rng.uniform(1.15, 1.75)
    if rng.random() < 0.75:
        _fill(patch, inside, np.maximum(enhancement * (1 + 0.2 * texture), 0.7))
        core = _step(level + 0.1 * texture, rng.uniform(0.55, 0.8), 0.12)
        _fill(patch, core, rng.uniform(0.35, 0.6) + 0.05 * texture)
    else:
        _fill(patch, inside, 0.85 * contrast.grey + 0.06 * texture)
        islands = _step(-texture, rng.uniform(-0.5, 0), 0.4) * inside
        _fill(patch, islands, enhancement)
    patch.mask[...] |= level < 1


def paint_pcnsl(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint one or two solid, well-defined masses with marked and homogeneous enhancement."""
    enhancement = rng.uniform(1.35, 1.85)
    radius_mm = rng.uniform(6, 16)
    whole = _level(patch, radius_mm, rng.uniform(0.04, 0.12), rng.uniform(9, 14), rng)
    if rng.random() < 0.3:
        shifted = patch.offset_mm - (_direction(rng) * radius_mm * rng.uniform(1.1, 1.5))
        whole = np.minimum(whole, np.sqrt((shifted**2).sum(axis=0)) / (radius_mm * rng.uniform(0.4, 0.7)))
    _oedema(patch, whole, rng.uniform(1.3, 1.9), rng.uniform(0.4, 0.9), contrast)
    texture = smooth_noise(_shape(patch), 4, rng)
    _fill(patch, _step(whole, 1, 0.1), enhancement * (1 + 0.02 * texture))
    patch.mask[...] |= whole < 1


def paint_germinoma(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint a lobulated mass of solid, enhancing tissue with several cysts and little oedema."""
    radius_mm = rng.uniform(5, 10)
    whole = _level(patch, radius_mm, 0.08, 8, rng)
    for _ in range(int(rng.integers(2, 5))):
        whole = np.minimum(whole, _ball(patch, rng.uniform(0.6, 1) * radius_mm, radius_mm, rng))
    _oedema(patch, whole, 1.25, rng.uniform(0.1, 0.4), contrast)
    texture = smooth_noise(_shape(patch), 3.5, rng)
    _fill(patch, _step(whole, 1, 0.12), rng.uniform(1.15, 1.6) * (1 + 0.06 * texture))
    for _ in range(int(rng.integers(3, 7))):
        cyst = _ball(patch, rng.uniform(0.2, 0.5) * radius_mm, rng.uniform(0, 1.1) * radius_mm, rng)
        _fill(patch, _step(cyst, 1, 0.25) * _step(whole, 0.92, 0.1), contrast.csf * rng.uniform(1, 1.4))
    patch.mask[...] |= whole < 1


def paint_rare(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint one of the mixed remainder: a cavernoma, several faint nodules, or a cyst with a mural nodule."""
    kinds: tuple[Painter, ...] = (_paint_cavernoma, _paint_faint_nodules, _paint_cyst_with_nodule)
    kinds[int(rng.integers(len(kinds)))](patch, contrast, rng)


def _paint_cavernoma(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint a mixed, popcorn-like core in a dark haemosiderin rim, without oedema."""
    level = _level(patch, rng.uniform(6, 12), 0.1, 5, rng)
    core = smooth_noise(_shape(patch), rng.uniform(2.5, 4), rng)
    _fill(patch, _step(level, 1, 0.15), rng.uniform(0.2, 0.4))
    _fill(patch, _step(level, rng.uniform(0.6, 0.75), 0.15), 0.85 + 0.35 * core.clip(-1.5, 1.5))
    patch.mask[...] |= level < 1


def _paint_faint_nodules(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint three to six small nodules that enhance faintly."""
    level = np.full(_shape(patch), np.inf, dtype=np.float32)
    for _ in range(int(rng.integers(3, 7))):
        level = np.minimum(level, _ball(patch, rng.uniform(3, 5.5), rng.uniform(3, 14), rng))
    _oedema(patch, level, 1.3, 0.4, contrast)
    _fill(patch, _step(level, 1, 0.4), rng.uniform(1.12, 1.3))
    patch.mask[...] |= level < 1


def _paint_cyst_with_nodule(patch: Patch, contrast: Contrast, rng: Generator) -> None:
    """Paint one smooth cyst, dark and without a wall, with an enhancing nodule at its edge."""
    radius_mm = rng.uniform(8, 15)
    cyst = _level(patch, radius_mm, 0.05, 12, rng)
    nodule = _ball(patch, rng.uniform(0.3, 0.45) * radius_mm, 0.8 * radius_mm, rng)
    _fill(patch, _step(cyst, 1, 0.1), contrast.csf * rng.uniform(1.1, 1.5))
    _fill(patch, _step(nodule, 1, 0.2), rng.uniform(1.3, 1.7))
    patch.mask[...] |= (cyst < 1) | (nodule < 1)


def _ball(patch: Patch, radius_mm: float, distance_mm: float, rng: Generator) -> Floats:
    """Give the level of a sphere at a distance from the centre, in a random direction."""
    shifted = patch.offset_mm - _direction(rng) * distance_mm
    return np.asarray(np.sqrt((shifted**2).sum(axis=0)) / radius_mm, dtype=np.float32)


def _direction(rng: Generator) -> Floats:
    """Draw a unit vector, (3, 1, 1, 1)."""
    vector = rng.standard_normal(3, dtype=np.float32)
    return np.asarray((vector / np.linalg.norm(vector))[:, None, None, None], dtype=np.float32)


CLASSES: dict[str, tuple[Painter, tuple[str, ...]]] = {
    "Glioma": (paint_glioma, ("thalamus", "basal ganglia", "midbrain", "pons", "corpus callosum")),
    "PCNSL": (paint_pcnsl, ("periventricular white matter", "corpus callosum", "basal ganglia", "thalamus")),
    "Germinoma": (paint_germinoma, ("pineal region", "basal ganglia", "thalamus")),
    "Rare": (paint_rare, ("thalamus", "basal ganglia", "midbrain", "pons", "periventricular white matter")),
}
