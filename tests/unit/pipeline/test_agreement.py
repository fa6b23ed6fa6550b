"""How far two segmentations agree, in figures that can be counted by hand."""

import numpy as np
import pytest
from factories import affine, turned

from vb_node.pipeline.agreement import agreement
from vb_node.types import Grid, Labels

SHAPE = (10, 12, 14)
GRID = Grid(SHAPE, affine((3.0, 1.0, 1.0), turned(20.0)), "1.2")


def _box(first: int, last: int) -> Labels:
    """Make a lesion of 4 x 4 pixels on slices ``first`` to ``last``."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[first : last + 1, 4:8, 4:8] = 1
    return labels


def test_the_same_lesion_agrees_wholly() -> None:
    found = agreement(_box(2, 5), 2 * _box(2, 5), GRID)

    assert (found.dice, found.centres_mm) == (1.0, pytest.approx(0.0))


def test_half_in_common_is_a_dice_of_one_half_and_centres_lie_apart_in_mm() -> None:
    found = agreement(_box(2, 5), _box(4, 7), GRID)

    assert found.dice == pytest.approx(0.5)
    assert found.centres_mm == pytest.approx(6.0)


def test_a_lesion_that_only_one_has_is_no_agreement() -> None:
    found = agreement(_box(2, 5), np.zeros(SHAPE, np.uint8), GRID)

    assert (found.dice, found.centres_mm) == (0.0, None)


def test_no_lesion_on_either_says_nothing() -> None:
    empty = np.zeros(SHAPE, np.uint8)

    found = agreement(empty, empty, GRID)

    assert (found.dice, found.centres_mm) == (None, None)
