"""No patient is on both sides of a split, and each class is on each side."""

import pytest

from vb_node.errors import ConfigError
from vb_node.evaluation.split import folds, hold_out

TARGETS = [0] * 12 + [1] * 8
PATIENTS = [f"a{n // 2}" for n in range(12)] + [f"b{n}" for n in range(8)]


def test_each_case_is_held_out_once_and_no_patient_is_on_both_sides() -> None:
    parts = list(folds(TARGETS, PATIENTS, 4, 7))

    assert sorted(index for _, held_out in parts for index in held_out) == list(range(20))
    for rest, held_out in parts:
        assert not {PATIENTS[index] for index in rest} & {PATIENTS[index] for index in held_out}
        assert {TARGETS[index] for index in held_out} == {0, 1}


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    first, again, other = (list(folds(TARGETS, PATIENTS, 4, seed)) for seed in (7, 7, 8))

    assert first == again != other


def test_too_few_patients_of_a_class_are_refused_however_many_cases_they_have() -> None:
    with pytest.raises(ConfigError, match="5 patients of each expected; a class has 2"):
        next(folds([0] * 10 + [1] * 10, [f"p{n // 5}" for n in range(20)], 5, 1))


def test_what_is_held_out_is_one_part_or_half_of_a_class_of_two() -> None:
    rest, held_out = hold_out([0, 0, 1, 1], ["a", "b", "c", "d"], 1)

    assert (len(rest), len(held_out)) == (2, 2)
