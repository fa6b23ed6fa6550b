"""Benchmark A in short, one seed: the mask tells the lesion from its look-alikes (long: vb-node evaluate mca)."""

import pytest

from vb_node.evaluation.benchmarks.tiny_lesions import MASKED, NO_MASK, WRONG, accuracy

EPOCHS = 10


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return {arm: accuracy(arm, 0, EPOCHS) for arm in (NO_MASK, MASKED, WRONG)}


def test_with_its_mask_a_tiny_lesion_is_told_from_its_look_alikes(found: dict[str, float]) -> None:
    assert found[MASKED] >= max(0.9, found[NO_MASK] + 0.2)


def test_a_mask_in_a_wrong_place_is_worth_nothing(found: dict[str, float]) -> None:
    assert found[WRONG] <= found[NO_MASK] + 0.1
