"""Benchmark B: what block 2 makes of the boxes of a weak detector."""

from dataclasses import dataclass

import numpy as np
import pytest
from simulated_vlm import SimulatedVlm, small_head

from vb_node.applications.virtual_biopsy.localise import LocaliserSettings, classify
from vb_node.applications.virtual_biopsy.validate import unite
from vb_node.pipeline.prior import coarse_prior, stack_boxes
from vb_node.types import Mask

CASES = 8


@dataclass(frozen=True)
class Stage:
    dice: float
    recall: float


@pytest.fixture(scope="module")
def stages() -> dict[str, list[Stage]]:
    found: dict[str, list[Stage]] = {"boxes": [], "coarse": [], "union": []}
    for seed in range(CASES):
        head, settings = small_head(seed), LocaliserSettings()
        boxes = SimulatedVlm(head.lesion, seed).detect(head.standard)
        stacked = stack_boxes(head.lesion.shape, boxes)
        coarse = coarse_prior(stacked, settings.prior)
        union = unite(classify(head.standard, boxes, coarse, settings), coarse, settings.union)
        for name, mask in (("boxes", stacked > 0), ("coarse", coarse > 0), ("union", union)):
            found[name].append(_measure(mask, head.lesion))
    return found


def _measure(mask: Mask, lesion: Mask) -> Stage:
    common = float((mask & lesion).sum())
    return Stage(2 * common / float(mask.sum() + lesion.sum()), common / float(lesion.sum()))


def _dice(stages: list[Stage]) -> float:
    return float(np.mean([stage.dice for stage in stages]))


def test_the_coarse_prior_recovers_what_the_boxes_miss(stages: dict[str, list[Stage]]) -> None:
    recall = np.mean([stage.recall for stage in stages["coarse"]])

    assert recall >= 0.90


def test_block_2_is_better_than_the_boxes_and_than_the_coarse_prior(stages: dict[str, list[Stage]]) -> None:
    union = _dice(stages["union"])

    assert union >= _dice(stages["coarse"]) + 0.08
    assert union >= _dice(stages["boxes"]) + 0.25


def test_the_worst_cases_keep_most_of_the_lesion(stages: dict[str, list[Stage]]) -> None:
    worst_decile = np.quantile([stage.recall for stage in stages["union"]], 0.1)

    assert worst_decile >= 0.6
