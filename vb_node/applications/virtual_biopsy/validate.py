"""The end of block 2: unite what the classifier and the boxes say, weigh every region, and judge the whole.

Source: Virtual Biopsy, arXiv 2602.21613, Fig. 3, "union validation". Regions are weighed by the image itself, whatever
detector gave the boxes: boxes that the image does not bear out must not become a lesion.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage, sparse
from scipy.special import expit, logit

from vb_node.applications.virtual_biopsy.evidence import Maps, score_of, weigh
from vb_node.pipeline.crop import Where, bounding_box, paste
from vb_node.pipeline.prior import Box, stack_boxes
from vb_node.types import Floats, Labels, Mask, Region, StandardVolume

SHELL_MM = 5  # how far out the surroundings of a part are measured
LEAST = 1e-6  # scores nearer to 0 or 1 are alike
State = Literal["localised", "not localised", "unreliable"]


@dataclass(frozen=True)
class UnionSettings:
    """How prediction and prior are united; docs/virtual-biopsy-localizer.md gives the reasons.

    Probabilities and priors are 0-1, ``reach_mm`` is measured from the coarse prior. ``further_score`` is what every
    lesion after the best must reach; ``gap_mm`` the slices that boxes of one region may leave out; ``surest_claim`` the
    claim above which a detector is not believed more.
    """

    probability: float = 0.6
    inside_share: float = 0.2
    core_prior: float = 0.6
    core_probability: float = 0.5
    reach_mm: int = 6
    trim_share: float = 0.25
    least_kept: float = 0.2
    smallest_ml: float = 0.05
    accept_score: float = 0.5
    further_score: float = 0.9
    gap_mm: int = 3
    surest_claim: float = 0.95


@dataclass(frozen=True, eq=False)
class Piece:
    """A candidate region before it is named: its mask in a box of the volume, what its boxes claim of it, its score.

    ``is_refined`` says whether block 2 bears it out.
    """

    where: Where
    mask: Mask
    claimed: float
    score: float
    is_refined: bool


def unite(probability: Floats, prior: Floats, settings: UnionSettings) -> Mask:
    """Unite the classifier's parts that the prior supports with the prior's core that the classifier does not deny."""
    probable = probability > settings.probability
    core = (prior > settings.core_prior) & (probability > settings.core_probability)
    if not (probable | core).any():
        return core
    where = bounding_box(probable | core, margin=1)
    labels, _ = ndimage.label(probable[where])
    volume = np.maximum(np.bincount(labels.ravel()), 1)
    inside = np.bincount(labels.ravel(), weights=(prior[where] > 0).ravel())
    is_kept = inside / volume >= settings.inside_share
    is_kept[0] = False
    united = ndimage.binary_closing(np.pad(is_kept[labels] | core[where], 2), iterations=2)[2:-2, 2:-2, 2:-2]
    return paste(_without_crumbs(ndimage.binary_fill_holes(united), settings), where, prior.shape)


def trim(refined: Mask, kinds: Sequence[Maps], settings: UnionSettings) -> Mask:
    """Cut each part where what it shows ends, a share of the way from what surrounds it; holes are filled.

    The smooth features of block 2 reach some mm beyond a lesion, which counts most for small ones. One mm is left about
    the cut, and a part of which too little would stay is left as it is. It is cut as the kind that ``as_shown`` tells.
    """
    box = kinds[0].where
    parts, _ = ndimage.label(refined[box])
    trimmed = np.zeros(parts.shape, dtype=np.bool_)
    for number, where in enumerate(ndimage.find_objects(parts), start=1):
        k, j, i = (slice(max(s.start - SHELL_MM, 0), s.stop + SHELL_MM) for s in where)
        cuts = [_trim_part(parts[k, j, i] == number, (k, j, i), maps, settings) for maps in kinds]
        scores = [score_of(weigh((k, j, i), cut, maps), maps.kind) for cut, maps in zip(cuts, kinds, strict=True)]
        trimmed[k, j, i] |= cuts[as_shown(scores, settings)]
    return paste(trimmed, box, refined.shape)


def as_shown(scores: Sequence[float], settings: UnionSettings) -> int:
    """Tell as which kind a part is taken: the first that the image bears out, else the one with the best score."""
    borne_out = (kind for kind, score in enumerate(scores) if score >= settings.accept_score)
    return next(borne_out, int(np.argmax(scores)))


def _trim_part(part: Mask, where: Where, maps: Maps, settings: UnionSettings) -> Mask:
    excess = maps.excess[where]
    near = ndimage.binary_dilation(part, iterations=2)
    shell = ndimage.binary_dilation(near, iterations=SHELL_MM - 2) & ~near & maps.brain[where]
    if not shell.any():
        return part
    around, lit = float(np.median(excess[shell])), float(np.percentile(excess[part], 75))
    lit_part = part & (excess > around + settings.trim_share * (lit - around))
    closed = ndimage.binary_closing(np.pad(lit_part, 3), iterations=2)[3:-3, 3:-3, 3:-3]
    filled = np.asarray(ndimage.binary_dilation(ndimage.binary_fill_holes(closed)) & part)
    return filled if filled.sum() >= settings.least_kept * part.sum() else part


def _without_crumbs(mask: Mask, settings: UnionSettings) -> Mask:
    labels, _ = ndimage.label(mask)
    is_kept = np.bincount(labels.ravel()) >= settings.smallest_ml * 1000
    is_kept[0] = False
    return np.asarray(is_kept[labels])


def weigh_regions(
    refined: Mask, boxes: Sequence[Box], kinds: Sequence[Maps], claim_score: float, settings: UnionSettings
) -> list[Piece]:
    """Score and rank every candidate: each part of the refined mask, and each group of boxes that has no part in it.

    A part's score pools what its boxes claim and what the image shows: either can deny it. As another kind than the
    first it is looked at only where it is claimed: what is dark in a head is mostly no lesion. A group without a part
    has half its claim. What is borne out comes first, then what is claimed, by its claim.
    """
    stacked = stack_boxes(refined.shape, boxes)
    pieces = []
    for where, part in _parts(refined):
        claimed = _claimed(stacked, where, part)
        shown = _image_score(where, part, kinds if claimed >= claim_score else kinds[:1], settings)
        pieces.append(Piece(where, part, claimed, pool(claimed, shown, settings), is_refined=True))
    for group in group_boxes(boxes, settings.gap_mm):
        where, mask = _extent(group, refined.shape)
        if mask.sum() >= settings.smallest_ml * 1000 and refined[where][mask].mean() < settings.inside_share:
            claimed = _claimed(stacked, where, mask)
            pieces.append(Piece(where, mask, claimed, 0.5 * claimed, is_refined=False))

    def merit(piece: Piece) -> tuple[bool, bool, float]:
        is_borne_out = piece.is_refined and piece.score >= settings.accept_score
        is_claimed = piece.claimed >= claim_score and not is_borne_out
        return is_borne_out, is_claimed, piece.claimed if is_claimed else piece.score

    return sorted(pieces, key=merit, reverse=True)


def _claimed(stacked: Floats, where: Where, mask: Mask) -> float:
    """Give what the boxes claim of a part or a group, all alike: about its best, whatever weaker boxes lie about it."""
    return float(np.percentile(stacked[where][mask], 90))


def pool(claimed: float, shown: float, settings: UnionSettings) -> float:
    """Give the mean of both log-odds as a score (logarithmic opinion pool); claims above ``surest_claim`` are alike."""
    odds = logit(np.clip([min(claimed, settings.surest_claim), shown], LEAST, 1 - LEAST))
    return float(expit(odds.mean()))


def _parts(mask: Mask) -> Iterator[tuple[Where, Mask]]:
    labels, _ = ndimage.label(mask)
    for label, where in enumerate(ndimage.find_objects(labels), start=1):
        yield where, labels[where] == label


def _extent(group: Sequence[Box], shape: tuple[int, ...]) -> tuple[Where, Mask]:
    """Give the voxels of a group's boxes, in the box about them."""
    volume = np.zeros(shape, dtype=np.bool_)
    for box in group:
        volume[box.k, max(box.j0, 0) : box.j1, max(box.i0, 0) : box.i1] = True
    k = slice(min(box.k for box in group), max(box.k for box in group) + 1)
    j = slice(max(min(box.j0 for box in group), 0), max(box.j1 for box in group))
    i = slice(max(min(box.i0 for box in group), 0), max(box.i1 for box in group))
    return (k, j, i), volume[k, j, i]


def _image_score(where: Where, part: Mask, kinds: Sequence[Maps], settings: UnionSettings) -> float:
    """Weigh a part of the volume by the maps of the brain, with some room about it."""
    inner = paste(part, where, kinds[0].grid.shape)[kinds[0].where]
    if not inner.any():
        return 0.0
    about = bounding_box(inner, margin=6)
    scores = [score_of(weigh(about, inner[about], maps), maps.kind) for maps in kinds]
    return scores[as_shown(scores, settings)]


def group_boxes(boxes: Sequence[Box], gap_mm: int) -> list[list[Box]]:
    """Join boxes that overlap, on slices at most ``gap_mm`` apart, into one group for each region."""
    corners = np.array([(box.k, box.j0, box.j1, box.i0, box.i1) for box in boxes], dtype=np.float64).reshape(-1, 5)
    k, j0, j1, i0, i1 = (corner[:, None] for corner in corners.T)
    rows = np.clip(np.minimum(j1, j1.T) - np.maximum(j0, j0.T), 0, None)
    columns = np.clip(np.minimum(i1, i1.T) - np.maximum(i0, i0.T), 0, None)
    area = (j1 - j0) * (i1 - i0)
    # a quarter of the larger box: touching neighbours stay apart
    is_joined = (abs(k - k.T) <= gap_mm) & (rows * columns >= 0.25 * np.maximum(area, area.T))
    _, group = sparse.csgraph.connected_components(sparse.csr_array(is_joined), directed=False)
    return [[boxes[int(n)] for n in np.flatnonzero(group == g)] for g in range(int(group.max(initial=-1)) + 1)]


def number_lesions(pieces: Sequence[Piece], shape: tuple[int, int, int], settings: UnionSettings) -> Labels:
    """Number the accepted pieces from 1, best first: the best needs ``accept_score``, the others ``further_score``."""
    labels = np.zeros(shape, dtype=np.uint8)
    accepted = [piece for piece in pieces if piece.is_refined and piece.score >= settings.accept_score]
    further = [piece for piece in accepted[1:] if piece.score >= settings.further_score]
    for label, piece in enumerate((accepted[:1] + further)[:255], start=1):
        labels[piece.where][piece.mask] = label
    return labels


def describe(pieces: Sequence[Piece], labels: Labels, standard: StandardVolume) -> tuple[Region, ...]:
    """Name every candidate, best first, by its place and size."""
    return tuple(_region(piece, labels, standard) for piece in pieces)


def _region(piece: Piece, labels: Labels, standard: StandardVolume) -> Region:
    index = np.argwhere(piece.mask).mean(axis=0, keepdims=True) + [s.start for s in piece.where]
    centre = standard.grid.to_lps(index)
    centre_atlas = centre @ standard.atlas_from_patient[:3, :3].T + standard.atlas_from_patient[:3, 3]
    x, y, z = (float(value) for value in centre[0])
    atlas_x, atlas_y, atlas_z = (float(value) for value in centre_atlas[0])
    volume_ml = float(piece.mask.sum() * standard.grid.voxel_mm3 / 1000)
    label = int(labels[piece.where][piece.mask].max()) if piece.is_refined else 0
    return Region(label, piece.score, volume_ml, (x, y, z), (atlas_x, atlas_y, atlas_z))


def judge(regions: Sequence[Region], boxes: Sequence[Box], claim_score: float) -> tuple[State, float]:
    """Give the state and the confidence: the best region's score, and what it means.

    A detector that claimed something which the image does not bear out is not to be relied on; one that claimed nothing
    has found nothing.
    """
    confidence = max((region.score for region in regions), default=0.0)
    if any(region.label for region in regions):
        return "localised", confidence
    if any(box.score >= claim_score for box in boxes):
        return "unreliable", confidence
    return "not localised", confidence
