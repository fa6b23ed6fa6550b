"""What is measured one case at a time is kept, compared with the truth, and averaged over the cases that have it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from vb_node.evaluation.case_by_case import RIGHT_OF_ALL, RIGHT_OF_BAND, Row, tell, walk
from vb_node.evaluation.localizer import ANY, COVERAGE, DICE, DISTANCE, FIRST, THIRD, compare
from vb_node.evaluation.pipeline import (
    DETERMINED,
    FALSE,
    PROBABLE,
    RIGHT,
    judge,
)
from vb_node.evaluation.report import Report
from vb_node.training.cases import DataCase
from vb_node.types import Grid, Prior, Region, StandardVolume

SHAPE = (40, 40, 40)


def case(number: int, tumour_class: str | None = "Glioma") -> DataCase:
    return DataCase(f"case {number}", f"p{number}", tumour_class, Path("x"), None, f"{number:064}")


def head() -> StandardVolume:
    grid = Grid(SHAPE, np.eye(4)[[2, 1, 0, 3]], "")
    voxels = np.zeros(SHAPE, dtype=np.float32)
    return StandardVolume(voxels, grid, np.ones(SHAPE, dtype=np.bool_), np.eye(4))


def region(*centre_kji: int) -> Region:
    k, j, i = (float(one) for one in centre_kji)
    return Region(0, 0.5, 1.0, (i, j, k), (0, 0, 0))


def test_the_first_region_that_lies_at_the_lesion_is_its_rank() -> None:
    truth = np.zeros(SHAPE, dtype=np.bool_)
    truth[10:14, 10:14, 10:14] = True
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[10:14, 10:14, 12:16] = 1
    regions = (region(30, 30, 30), region(12, 12, 17), region(12, 12, 12))

    row = compare(Prior(labels.astype(np.float32), labels, regions, 0.8, "localised"), truth, head())

    assert (row["first hit"], row[FIRST], row[THIRD], row[ANY]) == (2, 0.0, 1.0, 1.0)
    assert (row[DICE], row[COVERAGE]) == (0.5, 0.5)
    assert row[DISTANCE] == pytest.approx(np.sqrt(3) * 18.5, abs=0.1)


def test_what_was_not_accepted_covers_nothing() -> None:
    truth = np.zeros(SHAPE, dtype=np.bool_)
    truth[10:14, 10:14, 10:14] = True
    labels = truth.astype(np.uint8)

    row = compare(Prior(labels.astype(np.float32), labels, (), 0.1, "unreliable"), truth, head())

    assert (row["first hit"], row[ANY], row[DICE], row[COVERAGE], row[DISTANCE]) == (None, 0.0, 0.0, 0.0, None)


def summary(is_determined: bool, **probabilities: float) -> dict[str, object]:
    return {
        "probabilities": probabilities,
        "is_determined": is_determined,
        "state": "localised" if probabilities else "not localised",
        "confidence": 0.5,
        "novelty": 0.7,
        "diagnosis_reason": "",
        "seconds": {"read": 1.0, "process": 2.0},
    }


def test_what_is_not_determined_is_not_right() -> None:
    unsure, right = (judge(case(1), summary(sure, Glioma=0.4, PCNSL=0.3)) for sure in (False, True))

    assert (unsure[PROBABLE], unsure[RIGHT_OF_ALL], unsure[DETERMINED]) == (1.0, 0.0, 0.0)
    assert RIGHT not in unsure
    assert (right[RIGHT], right[RIGHT_OF_ALL]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("lesion_ml", "is_in_band"), [(1.9, False), (2, True), (15, True), (15.1, False), (None, False)]
)
def test_tumours_of_2_to_15_ml_are_counted_apart(lesion_ml: float | None, is_in_band: bool) -> None:
    row = judge(case(1), summary(True, Glioma=0.9), lesion_ml)

    assert (RIGHT_OF_BAND in row) == is_in_band
    assert row[RIGHT_OF_ALL] == 1.0


def test_a_class_for_a_head_without_tumour_is_a_false_one() -> None:
    assert judge(case(1, None), summary(True, Glioma=0.9))[FALSE] == 1.0
    assert judge(case(1, None), summary(False))[FALSE] == 0.0


def test_cases_that_were_looked_at_are_not_looked_at_again(tmp_path: Path) -> None:
    looked: list[str] = []

    def look(one: DataCase) -> Row:
        looked.append(one.name)
        if len(looked) == 2:
            raise KeyboardInterrupt
        return {"found": 1.0}

    cases = [case(1), case(2)]
    with pytest.raises(KeyboardInterrupt):
        walk(cases, "x", look, tmp_path, lambda done, total: None)
    rows = walk(cases, "x", look, tmp_path, lambda done, total: None)
    walk(cases, "other settings", look, tmp_path, lambda done, total: None)

    assert rows == [{"found": 1.0}, {"found": 1.0}]
    assert looked == ["case 1", "case 2", "case 2", "case 1", "case 2"]


def test_figures_average_the_cases_that_have_them(tmp_path: Path) -> None:
    rows: list[Row] = [{"found": 1.0, "median far": 2.0}, {"found": 0.0, "median far": 90.0}, {"median far": 4.0}]

    figures = tell(tmp_path, Report("T", {}, (), ()), [case(n) for n in range(3)], rows, ("found", "median far"), 1)

    assert (figures["found"].value, figures["median far"].value) == (0.5, 4.0)
    assert json.loads((tmp_path / "results.json").read_text())["figures"]["found"]["cases"] == 2
    with (tmp_path / "cases.csv").open() as stream:
        assert [row["found"] for row in csv.DictReader(stream)] == ["1.0", "0.0", ""]
