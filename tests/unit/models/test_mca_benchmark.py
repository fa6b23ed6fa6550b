"""Benchmark A in short, one seed: the mask is what tells the lesion from its look-alikes (long: benchmarks/mca.py)."""

import pytest
from tiny_lesions import ARMS, accuracy

EPOCHS = 10
NO_MASK, MASKED, _, _, WRONG = ARMS


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return {arm: accuracy(arm, 0, EPOCHS) for arm in (NO_MASK, MASKED, WRONG)}


def test_with_its_mask_a_tiny_lesion_is_told_from_its_look_alikes(found: dict[str, float]) -> None:
    assert found[MASKED] >= max(0.9, found[NO_MASK] + 0.2)


def test_a_mask_in_a_wrong_place_is_worth_nothing(found: dict[str, float]) -> None:
    assert found[WRONG] <= found[NO_MASK] + 0.1
