"""Benchmark B: what block 2 makes of the boxes of a weak detector."""

import pytest

from vb_node.evaluation.benchmarks.block_2 import Stage, dice, recall, stages, worst_recall

CASES = 8


@pytest.fixture(scope="module")
def found() -> dict[str, list[Stage]]:
    return stages(range(CASES))


def test_the_coarse_prior_recovers_what_the_boxes_miss(found: dict[str, list[Stage]]) -> None:
    assert recall(found["coarse"]) >= 0.90


def test_block_2_is_better_than_the_boxes_and_than_the_coarse_prior(found: dict[str, list[Stage]]) -> None:
    assert dice(found["union"]) >= dice(found["coarse"]) + 0.08
    assert dice(found["union"]) >= dice(found["boxes"]) + 0.25


def test_the_worst_cases_keep_most_of_the_lesion(found: dict[str, list[Stage]]) -> None:
    assert worst_recall(found["union"]) >= 0.6
