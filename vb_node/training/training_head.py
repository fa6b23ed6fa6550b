"""Heads for the localizer's training at 2 mm: phantoms, healthy or with their tumour, folded; and a site's own cases.

What brain extraction leaves in or cuts off is drawn crop by crop (crop.py), so a phantom's skull and scalp are left on;
a case has been through brain extraction, and is 0 outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from vb_node.models.lesion_network import NETWORK_MM, averaged, cells
from vb_node.training.code import code_sha256
from vb_node.training.dataset import REMAINING_SHADING, lay_standard
from vb_node.training.phantom import Progress, class_of, make_case
from vb_node.training.randomness import smooth_noise
from vb_node.types import Floats, Mask, Matrix, StandardVolume

FOLDED_MM = 26.0
UNFOLDED_CELLS = 6  # about a tumour, oedema and all


@dataclass(frozen=True, eq=False)
class TrainingHead:
    """One head at 2 mm: z-scores everywhere, distance to the brain's surface (negative inside), place in MNI152.

    ``fluid`` and ``white`` are the levels of cerebrospinal fluid and white matter, in z-scores; ``lesion`` is 1 in the
    head's tumour, nowhere in a healthy head.
    """

    voxels: Floats
    outside_mm: Floats
    atlas_from_index: Matrix
    fluid: float
    white: float
    lesion: Floats

    @cached_property
    def has_tumour(self) -> bool:
        return bool(self.lesion.any())


def make_head(seed: int, tumour_class: str | None = None) -> TrainingHead:
    """Generate one head, with a tumour of a class or healthy."""
    case = make_case(seed, tumour_class, "axial", lay=lay_standard, shading=REMAINING_SHADING)
    rng = np.random.default_rng([seed, 2])
    brain = np.asarray(ndimage.binary_fill_holes(ndimage.binary_closing(case.brain, iterations=3)))
    outside = ndimage.distance_transform_edt(~brain) - ndimage.distance_transform_edt(brain)
    voxels, lesion = _scored(case.volume.voxels, brain), case.labels > 0
    fluid, grey, white = (float(level) for level in np.percentile(voxels[brain & ~lesion], (3, 30, 75)))
    if rng.random() < 0.8:
        folded = voxels.copy()
        _fold(folded, 2 * outside, (fluid, grey, white), rng)
        voxels = np.where(ndimage.binary_dilation(lesion, iterations=UNFOLDED_CELLS), voxels, folded)
    atlas_from_index = case.atlas_from_patient @ case.volume.grid.affine_lps
    fields = voxels, (2 * outside).astype(np.float32), atlas_from_index
    return TrainingHead(*fields, fluid, white, lesion.astype(np.float32))


def head_of(standard: StandardVolume, lesion: Mask) -> TrainingHead:
    """Make a training head of a standardised case; ``lesion`` lies on its grid, and is empty in a healthy head."""
    step = max(1, round(NETWORK_MM / standard.grid.spacing_mm[0]))
    fields = (standard.voxels, standard.brain.astype(np.float32), lesion.astype(np.float32))
    voxels, share, tumour = (averaged(field, step) for field in fields)
    brain = share >= 0.5
    outside = ndimage.distance_transform_edt(~brain) - ndimage.distance_transform_edt(brain)
    fluid, white = (float(level) for level in np.percentile(voxels[brain & (tumour < 0.5)], (3, 75)))
    affine = cells(standard.atlas_from_patient @ standard.grid.affine_lps, (0, 0, 0), step)
    return TrainingHead(voxels, (NETWORK_MM * outside).astype(np.float32), affine, fluid, white, tumour)


def _scored(voxels: Floats, brain: Mask) -> Floats:
    """Score as MRI-Processor does, outside the brain too."""
    low, first, middle, third, high = np.percentile(voxels[brain], (0.5, 25, 50, 75, 99.5))
    deviation = max((third - first) / 1.349, 1e-6)
    return np.asarray((np.clip(voxels, low, high) - middle) / deviation, dtype=np.float32)


def _fold(voxels: Floats, outside_mm: Floats, levels: tuple[float, float, float], rng: Generator) -> None:
    """Fold the cortex: the template is a mean of 152 brains, and its gyri are a blur that no patient has.

    The zero level of smooth noise is a set of winding sheets, as sulci are: fluid, with grey matter about it.
    """
    fluid, grey, white = levels
    noise = np.abs(smooth_noise(voxels.shape, rng.uniform(5, 8), rng))
    reach = rng.uniform(12, FOLDED_MM)
    strength = rng.uniform(0.4, 0.9) * np.clip((outside_mm + reach) / 6, 0, 1) * (outside_mm < 0)
    narrow, wide = rng.uniform(0.05, 0.15), rng.uniform(0.4, 0.8)
    value = np.interp(noise, (0, narrow, wide, wide + 0.2), (fluid, grey, grey, white))
    # what is brighter than white matter is a vessel, and stays
    voxels += np.where(voxels < white + 0.5, strength, 0) * (value - voxels).astype(np.float32)


def make_heads(folder: Path, count: int, seed: int, progress: Progress, *, has_tumour: bool) -> list[TrainingHead]:
    """Generate ``count`` heads, of tumours the classes in turn, or read those that ``folder`` keeps from this code."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = []
    for index in range(count):
        path = folder / f"head-{seed + index}-{code_sha256()[:12]}.npz"
        if not path.exists():
            keep_head(path, make_head(seed + index, class_of(index) if has_tumour else None))
        heads.append(read_head(path))
        progress(index + 1, count)
    return heads


def keep_head(path: Path, head: TrainingHead) -> None:
    """Keep a head; ``path`` is whole at any time."""
    fields = {name: getattr(head, name).astype(np.float16) for name in ("voxels", "outside_mm", "lesion")}
    levels = np.array([head.fluid, head.white])
    part = path.with_suffix(".part.npz")
    np.savez(part, atlas_from_index=head.atlas_from_index, levels=levels, **fields)
    part.replace(path)


def read_head(path: Path) -> TrainingHead:
    """Read a head that was kept."""
    with np.load(path) as kept:
        voxels, outside_mm, lesion = (kept[name].astype(np.float32) for name in ("voxels", "outside_mm", "lesion"))
        fluid, white = kept["levels"].tolist()
        return TrainingHead(voxels, outside_mm, kept["atlas_from_index"], fluid, white, lesion)


def split(heads: Sequence[TrainingHead], held_share: float) -> tuple[Sequence[TrainingHead], Sequence[TrainingHead]]:
    """Give those that teach, and those held out."""
    held = max(1, round(len(heads) * held_share))
    return heads[held:], heads[:held]
