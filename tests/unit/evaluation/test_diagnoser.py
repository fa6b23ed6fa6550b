"""A cross-validation answers each case once, by a network that has not seen its patient; its report is whole."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vb_node.errors import ConfigError
from vb_node.evaluation.case_by_case import RIGHT_OF_ALL
from vb_node.evaluation.diagnoser import ALONE, ELSEWHERE, FAULTY, GAP, MCA, Protocol, answer_by, cross_validate
from vb_node.evaluation.figures import measure
from vb_node.evaluation.finished import architecture_with, classes_with, open_baseline, open_finished, refuse_known
from vb_node.evaluation.measure_diagnoser import reader_of, write_report
from vb_node.evaluation.prepare import Cases, Prepared, Refused
from vb_node.models.architecture import Architecture
from vb_node.models.bundle import read_bundle
from vb_node.models.weights import Weights
from vb_node.training.cases import DataSet
from vb_node.training.dataset import Sample
from vb_node.training.diagnoser import BUNDLE, Lesson, learn
from vb_node.training.fit import Course
from vb_node.training.manifest import Entry

CLASSES = ("Glioma", "PCNSL")


def bright_or_dark(count: int) -> list[Prepared]:
    generator = torch.Generator().manual_seed(5)
    prepared = []
    for index in range(count):
        image = 0.2 * torch.randn(1, 80, 96, 80, generator=generator)
        lesion = torch.zeros(1, 80, 96, 80)
        lesion[:, 30:42, 30:42, 30:42] = 1
        image[lesion > 0] += 3 if index % 2 else -3
        entry = Entry(f"<b>{index}", f"SECRET{index}", CLASSES[index % 2], Path("x"), None)
        prepared.append(Prepared(entry, Sample(image.half(), lesion.half(), index % 2)))
    return prepared


@pytest.mark.timeout(300)
def test_each_case_is_answered_once_an_arm_and_the_report_is_whole_and_escaped(tmp_path: Path) -> None:
    prepared = bright_or_dark(8)

    arms = cross_validate(prepared, 2, Protocol(2, 3, 1), tmp_path / "kept", lambda done, total: None)
    missed, unfit = (replace(prepared[0].case, name=name) for name in ("missed", "unfit"))
    cases = Cases([*prepared, replace(prepared[0], case=missed)], [Refused(unfit, "CONTENT: no head")])
    write_report(tmp_path, arms, CLASSES, {"data sha256": "<script>"}, 1, cases)

    assert list(arms) == [MCA, FAULTY, ELSEWHERE, ALONE, GAP]
    assert all(sorted(answers.case) == sorted(one.case.name for one in prepared) for answers in arms.values())
    results = json.loads((tmp_path / "results.json").read_text())
    page = (tmp_path / "report.html").read_text()
    with (tmp_path / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert np.sum(results["figures"]["arms"][MCA]["confusion"]) == 8
    assert len(rows) == 5 * 8
    own = results["figures"]["arms"][MCA]["measured"]["accuracy"]["value"]
    whole = results["figures"]["from image to class"][RIGHT_OF_ALL]
    assert (whole["value"], whole["cases"]) == (pytest.approx(own * 8 / 10), 10)
    assert "Not analysed: unfit: CONTENT: no head" in page
    assert "INVESTIGATIONAL" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not any("SECRET" in (tmp_path / name).read_text() for name in ("results.json", "report.html", "cases.csv"))


@pytest.mark.timeout(300)
def test_finished_weights_answer_without_a_baseline(tmp_path: Path) -> None:
    prepared = bright_or_dark(6)
    samples = [one.sample for one in prepared]
    learn(
        Lesson(samples, [(range(2, 6), range(2))], CLASSES, "few", "x", Course(3, 1, 2), data_sha256="ab" * 32),
        tmp_path,
        lambda done, total: None,
    )

    arms = answer_by(reader_of(read_bundle(tmp_path / BUNDLE)), prepared, 1)

    assert list(arms) == [MCA, FAULTY, ELSEWHERE]
    assert arms[MCA].in_set.all()  # two cases are too few for a coverage of 90 %


def test_more_folds_than_patients_of_a_class_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for count, few in ((5, 6), (2, 4), (2, 6), (1, 8)):
        with pytest.raises(ConfigError, match=f"with {count} folds, a class has {few // 2}"):
            cross_validate(bright_or_dark(few), 2, Protocol(count, 1, 1), tmp_path, lambda done, total: None)


def test_weights_that_learned_from_a_data_set_are_neither_tested_on_it_nor_the_start_of_a_training_on_it(
    tmp_path: Path,
) -> None:
    samples = [one.sample for one in bright_or_dark(6)]
    known = DataSet((), "ab" * 32)
    lesson = Lesson(samples, [(range(2, 6), range(2))], CLASSES, "few", "x", Course(3, 1, 2), data_sha256=known.sha256)
    learn(lesson, tmp_path, lambda done, total: None)
    weights = open_finished(tmp_path / BUNDLE)

    with pytest.raises(ConfigError, match="trained on this data set"):
        refuse_known(known, weights)
    refuse_known(DataSet((), "cd" * 32), weights)
    with pytest.raises(ConfigError, match="the data set has Germinoma too"):
        classes_with(("Glioma", "Germinoma"), weights)


def test_a_cross_validation_goes_on_from_the_weights_that_it_is_given(tmp_path: Path) -> None:
    prepared = bright_or_dark(8)
    samples = [one.sample for one in prepared]
    lesson = Lesson(samples, [(range(8), range(2))], CLASSES, "few", "x", Course(3, 6, 2))
    learn(lesson, tmp_path, lambda done, total: None)

    begun, anew = (
        cross_validate(prepared, 2, Protocol(2, 3, 1, start), tmp_path / "kept", lambda done, total: None)[MCA]
        for start in (open_finished(tmp_path / BUNDLE), None)
    )

    assert measure(begun, CLASSES)["accuracy"] == 1
    assert measure(begun, CLASSES)["Brier score"] < measure(anew, CLASSES)["Brier score"]


def test_every_arm_of_a_cross_validation_goes_on_from_a_network_that_learned_as_it_does(tmp_path: Path) -> None:
    prepared = bright_or_dark(8)
    first = tmp_path / "first"
    learn(
        Lesson([one.sample for one in prepared], [(range(8), range(2))], CLASSES, "few", "x", Course(3, 8, 2)),
        first,
        lambda done, total: None,
    )
    start = open_finished(first / BUNDLE)
    baseline = open_baseline(first, start)

    from_its_own, from_the_masks = (
        cross_validate(prepared, 2, Protocol(2, 3, 1, start, one), tmp_path / "kept", lambda done, total: None)
        for one in (baseline, None)
    )

    assert measure(from_its_own[GAP], CLASSES)["Brier score"] < measure(from_the_masks[GAP], CLASSES)["Brier score"]
    assert np.array_equal(from_its_own[MCA].raw, from_the_masks[MCA].raw)


def test_the_arm_without_radiomics_answers_by_the_maps_of_the_same_network(tmp_path: Path) -> None:
    prepared = bright_or_dark(8)

    arms = cross_validate(prepared, 2, Protocol(2, 3, 1), tmp_path, lambda done, total: None)

    together, alone = (measure(arms[arm], CLASSES)["Brier score"] for arm in (MCA, ALONE))
    assert together < alone  # one epoch teaches the network little; brightness is the first of the radiomics


def test_a_baseline_of_another_training_is_refused(tmp_path: Path) -> None:
    samples = [one.sample for one in bright_or_dark(6)]
    for name in ("one", "other"):
        lesson = Lesson(samples, [(range(2, 6), range(2))], CLASSES, "few", f"train {name}", Course(3, 1, 2))
        learn(lesson, tmp_path / name, lambda done, total: None)

    with pytest.raises(ConfigError, match="other was made by `train other`: name its bundle with --start"):
        open_baseline(tmp_path / "other", open_finished(tmp_path / "one" / BUNDLE))
    with pytest.raises(ConfigError, match="so that all arms begin alike"):
        open_baseline(tmp_path / "one", None)
    with pytest.raises(ConfigError, match="the folder of a training on phantoms .* expected"):
        open_baseline(tmp_path, open_finished(tmp_path / "one" / BUNDLE))


def test_a_training_from_finished_weights_has_their_architecture() -> None:
    start = Weights({}, {"backbone": "convnext", "tumor_pool": "global"}, "ab" * 32)
    theirs = Architecture("convnext", "global")

    assert architecture_with(None, None, start) == architecture_with("convnext", "global", start) == theirs
    assert architecture_with(None, None, Weights({}, {}, "ab" * 32)) == architecture_with(None, None, None)
    assert architecture_with("densenet121", None, None) == Architecture("densenet121", "masked")
    with pytest.raises(ConfigError, match="convnext with global pooling, not resnet with global pooling"):
        architecture_with("resnet", None, start)
    with pytest.raises(ConfigError, match="leave out --backbone and --tumor-pool"):
        architecture_with(None, "masked", start)
