"""Benchmark B: what block 2 of Tumor-Localizer makes of the boxes of a weak detector, stage by stage."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vb_node.applications.virtual_biopsy.localise import LocaliserSettings, classify
from vb_node.applications.virtual_biopsy.validate import unite
from vb_node.evaluation.benchmarks.small_head import SimulatedVlm, small_head
from vb_node.pipeline.prior import coarse_prior, stack_boxes
from vb_node.types import Mask

LIKELY = 0.5  # probability from which the classifier alone would call a voxel tumour


@dataclass(frozen=True)
class Stage:
    """How a mask fits the lesion: overlap (Dice), and the shares of the lesion found and of the mask that is right."""

    dice: float
    recall: float
    precision: float


def stages(seeds: Iterable[int]) -> dict[str, list[Stage]]:
    """Give each stage of each seed's head."""
    found: dict[str, list[Stage]] = {}
    for seed in seeds:
        head, settings = small_head(seed), LocaliserSettings()
        boxes = SimulatedVlm(head.lesion, seed).detect(head.standard)
        stacked = stack_boxes(head.lesion.shape, boxes)
        coarse = coarse_prior(stacked, settings.prior)
        probability = classify(head.standard, boxes, coarse, settings)
        union = unite(probability, coarse, settings.union)
        masks = {"boxes": stacked > 0, "coarse": coarse > 0, "classifier": probability > LIKELY, "union": union}
        for name, mask in masks.items():
            found.setdefault(name, []).append(_measure(mask, head.lesion))
    return found


def _measure(mask: Mask, lesion: Mask) -> Stage:
    common, found, there = (float(one.sum()) for one in (mask & lesion, mask, lesion))
    return Stage(2 * common / (found + there), common / there, common / max(found, 1.0))


def dice(of: list[Stage]) -> float:
    return float(np.mean([stage.dice for stage in of]))


def recall(of: list[Stage]) -> float:
    return float(np.mean([stage.recall for stage in of]))


def worst_recall(of: list[Stage]) -> float:
    """Give the recall that one case in ten stays below."""
    return float(np.quantile([stage.recall for stage in of], 0.1))
