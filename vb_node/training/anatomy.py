"""The phantom's healthy head: MNI152 tissue, with the meninges, skull, scalp, face and vessels that the template lacks.

Signals are relative to white matter (1.0) in a T1 volume after contrast agent. The template is ICBM 152 2009a,
symmetric (Fonov et al., NeuroImage, 2011).
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from vb_node.pipeline.atlas import atlas
from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats, Grid, Mask, Matrix

Scalar = TypeVar("Scalar", bound=np.generic)

# Corner of the head box: LPS mm of voxel (0, 0, 0), as (z, y, x), and its size. The template ends at z = -72.
CORNER_ZYX = (-116, -104, -92)
HEAD_SHAPE = (218, 238, 185)


@dataclass(frozen=True, eq=False)
class Head:
    """Fixed fields on the atlas grid, [k, j, i] -> superior, posterior, left, 1 mm.

    ``outside_mm`` is the distance from the closed brain surface, 0 within; ``body_mm`` is negative in face and neck.
    """

    grid: Grid
    grey: Floats
    white: Floats
    detail: Floats
    brain: Mask
    outside_mm: Floats
    body_mm: Floats


@dataclass(frozen=True)
class Contrast:
    """Signals of one acquisition, relative to white matter."""

    csf: float
    grey: float
    dura: float
    bone: float
    fat: float
    muscle: float
    vessel: float
    choroid: float

    @classmethod
    def draw(cls, rng: Generator) -> "Contrast":
        """Draw the contrast of one acquisition."""
        return cls(
            csf=rng.uniform(0.18, 0.38),
            grey=rng.uniform(0.66, 0.84),
            dura=rng.uniform(0.9, 1.6),
            bone=rng.uniform(0.08, 0.25),
            fat=rng.uniform(1.3, 2.2),
            muscle=rng.uniform(0.5, 0.8),
            vessel=rng.uniform(1.5, 2.4),
            choroid=rng.uniform(1.2, 1.8),
        )


@cache
def load_head() -> Head:
    """Build the fixed fields once per process (about 3 s)."""
    template = atlas(1)
    brain = _on_box(template.brain)
    signal = _on_box(template.template.voxels)
    grey, white = _sharpen(_on_box(template.grey) * brain, _on_box(template.white) * brain)
    return Head(
        grid=Grid(HEAD_SHAPE, _box_affine(), "atlas"),
        grey=grey,
        white=white,
        # What the tissues leave unsaid; the three signals are the template's own means (0.28, 0.65, 0.86).
        detail=(signal - (0.28 + 0.37 * grey + 0.58 * white)) * brain,
        brain=brain,
        outside_mm=_distance_outside(brain),
        body_mm=_body_distance(),
    )


def _sharpen(grey: Floats, white: Floats) -> tuple[Floats, Floats]:
    """Make the tissues, which are a mean of 152 brains, about as narrow as in one of them."""
    free = (1 - grey - white).clip(0)
    scale = grey**2 + white**2 + free**2
    return np.asarray(grey**2 / scale, dtype=np.float32), np.asarray(white**2 / scale, dtype=np.float32)


def _box_affine() -> Matrix:
    z, y, x = CORNER_ZYX
    return np.array([[0, 0, 1, x], [0, 1, 0, y], [1, 0, 0, z], [0, 0, 0, 1]], dtype=np.float64)


def _on_box(field: NDArray[Scalar]) -> NDArray[Scalar]:
    """Lay a field of the atlas, which ends at z = -72, into the head box."""
    first = np.rint(atlas(1).grid.affine_lps[[2, 1, 0], 3] - CORNER_ZYX).astype(int)
    box = np.zeros(HEAD_SHAPE, dtype=field.dtype)
    into = tuple(slice(max(f, 0), min(f + n, m)) for f, n, m in zip(first, field.shape, HEAD_SHAPE, strict=True))
    out_of = tuple(slice(s.start - f, s.stop - f) for s, f in zip(into, first, strict=True))
    box[into] = field[out_of]
    return box


def _distance_outside(brain: Mask) -> Floats:
    """Measure the distance to the brain with its fissures closed, at 2 mm because the surface is smooth."""
    coarse = np.pad(brain[::2, ::2, ::2], 10)
    closed = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~coarse) <= 6) > 6.5
    distance = 2 * ndimage.distance_transform_edt(~closed)[10:-10, 10:-10, 10:-10]
    return _enlarge(ndimage.gaussian_filter(distance.astype(np.float32), 0.7))


def _enlarge(coarse: Floats) -> Floats:
    """Bring a field from 2 mm to the head box."""
    fine: Floats = ndimage.zoom(coarse, 2, order=1, grid_mode=False, output=np.float32)
    pad = [(0, max(0, n - m)) for n, m in zip(HEAD_SHAPE, fine.shape, strict=True)]
    return np.pad(fine, pad, mode="edge")[tuple(slice(n) for n in HEAD_SHAPE)]


def _body_distance() -> Floats:
    """Give a signed distance, roughly in mm, to a face and a neck made of two ellipsoids."""
    z, y, x = coordinates()
    face = np.sqrt((x / 62) ** 2 + ((y + 40) / 58) ** 2 + ((z + 68) / 58) ** 2)
    neck = np.sqrt((x / 56) ** 2 + ((y - 28) / 60) ** 2 + ((z + 125) / 75) ** 2)
    return ((np.minimum(face, neck) - 1) * 58).astype(np.float32)


def coordinates() -> tuple[Floats, Floats, Floats]:
    """Give LPS mm along z, y, x of the head box, ready to broadcast."""
    axes = (np.arange(n, dtype=np.float32) + c for n, c in zip(HEAD_SHAPE, CORNER_ZYX, strict=True))
    z, y, x = axes
    return z[:, None, None], y[None, :, None], x[None, None, :]


def paint_head(contrast: Contrast, rng: Generator) -> Floats:
    """Paint one healthy head on the atlas grid, relative to white matter = 1."""
    head = load_head()
    signal = _paint_soft_tissue(head, contrast, rng)
    _paint_layers(signal, head, contrast, rng)
    free = 1 - head.grey - head.white
    tissue = free * contrast.csf + head.grey * contrast.grey + head.white + 0.6 * head.detail
    texture = smooth_noise(HEAD_SHAPE, 3, rng) * rng.uniform(0.01, 0.03)
    inside = head.brain
    signal[inside] = (tissue + texture)[inside]
    _paint_cord(signal, contrast)
    return signal


def _paint_soft_tissue(head: Head, contrast: Contrast, rng: Generator) -> Floats:
    """Fill face and neck with muscle, fat and air cavities under a layer of skin."""
    noise = smooth_noise(HEAD_SHAPE, 7, rng)
    signal = np.full(HEAD_SHAPE, contrast.muscle, dtype=np.float32) + 0.08 * noise
    signal[noise > 0.9] = contrast.fat * 0.8
    z, y, x = coordinates()
    sinuses = (noise < -0.2) & (np.abs(x) < 28) & (y < -38) & (z < -22) & (z > -75)
    signal[sinuses] = 0.03
    signal[head.body_mm > -4] = contrast.fat * 0.8
    signal[head.body_mm > 0] = 0
    return signal


def _paint_layers(signal: Floats, head: Head, contrast: Contrast, rng: Generator) -> None:
    """Wrap the brain in subarachnoid CSF, enhancing dura, bone with diploe, and scalp."""
    wobble = 1 + 0.12 * smooth_noise(HEAD_SHAPE, 24, rng)
    depth = head.outside_mm / wobble
    csf_mm, bone_mm, scalp_mm = rng.uniform(1.2, 3.5), rng.uniform(5, 8), rng.uniform(4, 7)
    dura = csf_mm + rng.uniform(0.8, 1.4)
    inner, outer = dura + 0.25 * bone_mm, dura + 0.75 * bone_mm
    bone = dura + bone_mm
    ends = (csf_mm, dura, inner, outer, bone, bone + scalp_mm)
    marrow = contrast.bone + rng.uniform(0.1, 0.7)
    values = (contrast.csf, contrast.dura, contrast.bone, marrow, contrast.bone, contrast.fat)
    layer = np.searchsorted(ends, depth.ravel()).reshape(depth.shape)
    # Below the skull base the same distances lie in the face: there the scalp is soft tissue already.
    layer[(layer == 5) & (head.body_mm < -4)] = 6
    for index, value in enumerate(values):
        signal[layer == index] = value


def _paint_cord(signal: Floats, contrast: Contrast) -> None:
    """Lead the medulla on into the canal below the template's last slice."""
    z, y, x = coordinates()
    radius = np.sqrt(x**2 + (y - 47) ** 2)
    below = z < -71
    signal[below & (radius < 10)] = contrast.csf
    signal[below & (radius < 5.5)] = 0.95
