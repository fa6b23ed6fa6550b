"""Tumor-Localizer: from a standardised volume to the refined prior (Virtual Biopsy, arXiv 2602.21613, Fig. 3).

Block 1: boxes slice by slice, stacked, smoothed, dilated. Block 2: a voxel-wise classifier trained on what block 1 is
sure of, united with the prior, and judged.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy import ndimage

from vb_node.applications.virtual_biopsy.classical import ClassicalDetector
from vb_node.applications.virtual_biopsy.detectors import SliceDetector, UnreadableAnswers, is_one_answer
from vb_node.applications.virtual_biopsy.evidence import DARK, ENHANCING, draw_maps
from vb_node.applications.virtual_biopsy.features import voxel_features
from vb_node.applications.virtual_biopsy.validate import (
    State,
    UnionSettings,
    describe,
    judge,
    number_lesions,
    trim,
    unite,
    weigh_regions,
)
from vb_node.models.voxel_mlp import MlpSettings, fit_voxel_mlp
from vb_node.pipeline.crop import bounding_box, paste
from vb_node.pipeline.prior import Box, PriorSettings, coarse_prior, inscribed_ellipses, smooth_boxes, stack_boxes
from vb_node.types import Floats, Mask, Prior, StandardVolume


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Which voxels teach the classifier: above ``tumour_prior`` in the heaviest component, below ``background_prior``.

    ``near_share`` of the background is drawn from what lies just outside the boxes, up to ``near_prior`` and within
    ``near_mm``.
    """

    tumour_prior: float = 0.6
    background_prior: float = 0.02
    near_prior: float = 0.15
    near_mm: int = 8
    near_share: float = 0.5
    most_tumour: int = 1500
    most_background: int = 4500
    seed: int = 0


@dataclass(frozen=True)
class LocaliserSettings:
    """Every default and its reason stand in docs/virtual-biopsy-localizer.md.

    Boxes below ``weakest_share`` of the best score are candidates, and no part of the prior.
    """

    weakest_share: float = 0.6
    prior: PriorSettings = field(default_factory=PriorSettings)
    pseudo_labels: PseudoLabelSettings = field(default_factory=PseudoLabelSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)
    union: UnionSettings = field(default_factory=UnionSettings)


def localise(
    standard: StandardVolume, detector: SliceDetector | None = None, settings: LocaliserSettings | None = None
) -> Prior:
    """Find lesions in a standardised volume; ``classical`` is the detector unless another is given."""
    detector, settings = detector or ClassicalDetector(), settings or LocaliserSettings()
    try:
        boxes = [box for box in detector.detect(standard) if box.area and box.score > 0]
    except UnreadableAnswers as error:
        return _nothing(standard, "unreliable", str(error))
    if not boxes:
        return _nothing(standard, "not localised")
    if is_one_answer([box for box in boxes if box.score >= detector.claim_score]):
        return _nothing(standard, "unreliable", "the detector gives the same box on slice after slice")
    weakest = settings.weakest_share * max(box.score for box in boxes)
    firm = [box for box in boxes if box.score >= weakest]
    coarse = coarse_prior(stack_boxes(standard.grid.shape, firm), settings.prior)
    with ThreadPoolExecutor() as pool:
        drawn = pool.map(partial(draw_maps, standard), (ENHANCING, DARK) if detector.knows_dark else (ENHANCING,))
        probability = classify(standard, firm, coarse, settings)
        kinds = list(drawn)
    refined = trim(unite(probability, coarse, settings.union), kinds, settings.union)
    pieces = weigh_regions(refined, boxes, kinds, detector.claim_score, settings.union)
    labels = number_lesions(pieces, standard.grid.shape, settings.union)
    regions = describe(pieces, labels, standard)
    state, confidence = judge(regions, boxes, detector.claim_score)
    soft = _soften(probability, coarse, labels > 0)
    return Prior(soft, labels, regions, confidence, state, _notes(state))


def classify(standard: StandardVolume, boxes: list[Box], coarse: Floats, settings: LocaliserSettings) -> Floats:
    """Train the voxel-wise classifier on pseudo-labels and give its probability near the coarse prior, 0 elsewhere."""
    probability = np.zeros(standard.grid.shape, dtype=np.float32)
    if not coarse.any():
        return probability
    tumour, background = pseudo_labels(standard, boxes, coarse, settings)
    near = _reach(coarse > 0, settings.union.reach_mm) & standard.brain
    if not (tumour.any() and background.any() and near.any()):
        return probability
    wanted = near | tumour | background
    features = voxel_features(standard, wanted)
    is_taught = (tumour | background)[wanted]
    model = fit_voxel_mlp(features[is_taught], tumour[wanted][is_taught], settings.mlp)
    probability[near] = model.probability(features[near[wanted]])
    return probability


def pseudo_labels(
    standard: StandardVolume, boxes: list[Box], coarse: Floats, settings: LocaliserSettings
) -> tuple[Mask, Mask]:
    """Choose the voxels that teach tumour and background: where block 1 is sure, and inside the brain."""
    chosen = settings.pseudo_labels
    rng = np.random.default_rng(chosen.seed)
    stacked = stack_boxes(standard.grid.shape, boxes)
    rounded = inscribed_ellipses(standard.grid.shape, boxes)
    sure = _heaviest(stacked, coarse) & rounded & (coarse > chosen.tumour_prior) & standard.brain
    smooth = smooth_boxes(stacked, settings.prior)
    clear = (smooth < chosen.background_prior) & standard.brain
    # without these, smooth features tell the neighbourhood from the rest, not the lesion from what surrounds it
    beside = (smooth < chosen.near_prior) & _dilated(sure, chosen.near_mm) & standard.brain
    beside_count = int(chosen.most_background * chosen.near_share)
    background = _draw(clear, chosen.most_background - beside_count, rng) | _draw(beside, beside_count, rng)
    return _draw(sure, chosen.most_tumour, rng), background


def _reach(mask: Mask, reach_mm: int) -> Mask:
    """Mark what lies within so many mm of a mask that is not empty."""
    where = bounding_box(mask, margin=reach_mm)
    return paste(ndimage.distance_transform_edt(~mask[where]) <= reach_mm, where, mask.shape)


def _dilated(mask: Mask, times: int) -> Mask:
    """Dilate a mask by so many voxels along the axes."""
    if not mask.any():
        return mask
    where = bounding_box(mask, margin=times)
    return paste(ndimage.binary_dilation(mask[where], iterations=times), where, mask.shape)


def _heaviest(stacked: Floats, coarse: Floats) -> Mask:
    """Find the component of the coarse prior with the most mass, each voxel weighed by the odds of its box."""
    where = bounding_box(coarse > 0, margin=0)
    labels, count = ndimage.label(coarse[where] > 0)
    odds = 1 / (1 - np.minimum(stacked[where], 0.99)) - 1
    mass = ndimage.sum_labels(coarse[where] * odds, labels, np.arange(1, count + 1))
    heaviest = labels == int(np.argmax(mass)) + 1
    sure = heaviest & (stacked[where] >= 0.9 * stacked[where][heaviest].max())
    return paste(sure, where, coarse.shape)


def _draw(mask: Mask, most: int, rng: np.random.Generator) -> Mask:
    """Keep at most so many voxels of a mask."""
    index = np.flatnonzero(mask)
    drawn = np.zeros(mask.size, dtype=np.bool_)
    drawn[rng.choice(index, min(most, index.size), replace=False)] = True
    return drawn.reshape(mask.shape)


def _soften(probability: Floats, coarse: Floats, lesions: Mask) -> Floats:
    """Make the refined soft map: at least one half exactly in the accepted lesions."""
    inside = np.clip(np.maximum(probability, coarse), 0.5, 1)
    outside = np.clip(probability * coarse, 0, 0.49)
    return np.where(lesions, inside, outside).astype(np.float32)


def _notes(state: str) -> tuple[str, ...]:
    return ("the detector's boxes are not borne out by the image",) if state == "unreliable" else ()


def _nothing(standard: StandardVolume, state: State, *notes: str) -> Prior:
    shape = standard.grid.shape
    labels = np.zeros(shape, dtype=np.uint8)
    return Prior(np.zeros(shape, dtype=np.float32), labels, (), 0.0, state, notes)
