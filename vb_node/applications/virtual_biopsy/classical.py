"""The `classical` slice detector: what enhances, stands out from its mirror image or is a blob, without a network.

Maps of enhancement, blobs and asymmetry are cut at several levels; rings are filled, and vessels and dura opened away;
what remains is weighed (evidence.py) and handed on as boxes, slice by slice, as a VLM would.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from vb_node.applications.virtual_biopsy.evidence import Maps, draw_maps, score_of, weigh
from vb_node.pipeline.crop import Where
from vb_node.pipeline.prior import Box
from vb_node.types import Mask, StandardVolume


@dataclass(frozen=True)
class ClassicalSettings:
    """Levels are in units of the contrast between normal white matter and fluid.

    docs/virtual-biopsy-localizer.md gives each default's reason.
    """

    enhancement_levels: tuple[float, ...] = (0.2, 0.3, 0.45, 0.65, 0.95)
    blob_levels: tuple[float, ...] = (0.15, 0.35)
    asymmetry_levels: tuple[float, ...] = (0.25, 0.5)
    hole_mm2: float = 1600.0
    opening_mm: int = 2
    smallest_ml: float = 0.06
    largest_ml: float = 150.0
    overlap: float = 0.33
    leak: float = 0.85
    candidates: int = 24
    boxes_a_slice: int = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """One thing that may be a lesion: its voxels in a box of the maps, and how it stands out from its shell."""

    where: Where
    mask: Mask
    score: float
    contrast: float


class ClassicalDetector:
    """Find enhancing lesions without a network; a box from one half on is a claim."""

    claim_score = 0.5
    knows_dark = False

    def __init__(self, settings: ClassicalSettings | None = None) -> None:
        self.settings = settings or ClassicalSettings()

    def detect(self, standard: StandardVolume) -> list[Box]:
        maps = draw_maps(standard)
        boxes = [box for found in find_candidates(maps, self.settings) for box in _boxes(found, maps)]
        return _best_of_each_slice(boxes, self.settings.boxes_a_slice)


def find_candidates(maps: Maps, settings: ClassicalSettings) -> list[Candidate]:
    """Cut the maps at every level, weigh what is found, and keep the best of what overlaps; best first."""
    found = [
        _candidate(where, mask, maps)
        for cut in _cuts(maps, settings)
        for where, mask in _pieces(_solid(cut, settings) & maps.brain, settings)
    ]
    found.sort(key=lambda candidate: candidate.score, reverse=True)
    return _without_overlap(found, maps, settings)


def _candidate(where: Where, mask: Mask, maps: Maps) -> Candidate:
    evidence = weigh(where, mask, maps)
    return Candidate(where, mask, score_of(evidence), evidence["contrast"])


def _cuts(maps: Maps, settings: ClassicalSettings) -> Iterator[Mask]:
    for values, levels in (
        (maps.excess, settings.enhancement_levels),
        (maps.blob, settings.blob_levels),
        (maps.asymmetry, settings.asymmetry_levels),
    ):
        for level in levels:
            yield np.asarray(values > level)


_IN_PLANE = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))], dtype=np.bool_)


def _solid(mask: Mask, settings: ClassicalSettings) -> Mask:
    """Fill rings (the dark core belongs to the tumour), then open: thin sheets and tubes are dura and vessels."""
    closed = ndimage.binary_closing(mask)
    votes = sum(_holes(closed, axis, settings.hole_mm2).astype(np.uint8) for axis in range(3))
    # closed in two planes of three: a loop of vessels is closed in one
    return np.asarray(ndimage.binary_opening(closed | (votes >= 2), iterations=settings.opening_mm))


def _holes(mask: Mask, axis: int, largest: float) -> Mask:
    """Find what is enclosed in planes across ``axis``, up to an area in voxels."""
    labels, _ = ndimage.label(~mask, np.moveaxis(_IN_PLANE, 0, axis))
    is_hole = np.bincount(labels.ravel()) <= largest
    is_hole[0] = False
    return np.asarray(is_hole[labels])


def _pieces(mask: Mask, settings: ClassicalSettings) -> Iterator[tuple[Where, Mask]]:
    """Give each connected piece of a fit size, in a box with room for what surrounds it."""
    labels, _ = ndimage.label(mask)
    volume_ml = np.bincount(labels.ravel()) / 1000
    for label, (k, j, i) in enumerate(ndimage.find_objects(labels), start=1):
        if settings.smallest_ml <= volume_ml[label] <= settings.largest_ml:
            where = _widen(k), _widen(j), _widen(i)
            yield where, labels[where] == label


def _widen(span: slice, margin: int = 6) -> slice:
    return slice(max(span.start - margin, 0), span.stop + margin)


def _without_overlap(ranked: list[Candidate], maps: Maps, settings: ClassicalSettings) -> list[Candidate]:
    """Keep a candidate unless better ones hold too much of it, or it is one of them that has leaked.

    A lower cut that shows more of a lesion keeps its contrast; one that runs on into normal tissue loses it.
    """
    taken = np.full(maps.brain.shape, -np.inf)
    kept: list[Candidate] = []
    for candidate in ranked:
        contrast = taken[candidate.where][candidate.mask]
        if (contrast > -np.inf).mean() >= settings.overlap or candidate.contrast < settings.leak * contrast.max():
            continue
        taken[candidate.where][candidate.mask] = candidate.contrast
        kept.append(candidate)
        if len(kept) == settings.candidates:
            break
    return kept


def _boxes(candidate: Candidate, maps: Maps) -> Iterator[Box]:
    """Box a candidate's cross-sections, one box a slice."""
    k0, j0, i0 = (inner.start + outer.start for inner, outer in zip(candidate.where, maps.where, strict=True))
    for k in np.flatnonzero(candidate.mask.any(axis=(1, 2))):
        rows, columns = (np.flatnonzero(candidate.mask[k].any(axis=axis)) for axis in (1, 0))
        top, bottom, right, left = (int(n) for n in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        yield Box(int(k) + k0, top + j0, bottom + j0, right + i0, left + i0, candidate.score)


def _best_of_each_slice(boxes: list[Box], most: int) -> list[Box]:
    kept: dict[int, list[Box]] = {}
    for box in sorted(boxes, key=lambda box: box.score, reverse=True):
        on_slice = kept.setdefault(box.k, [])
        if len(on_slice) < most:
            on_slice.append(box)
    return [box for k in sorted(kept) for box in kept[k]]
