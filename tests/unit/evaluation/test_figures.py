"""Figures are those of scikit-learn where it has them, and intervals hold what they say."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from vb_node.evaluation.figures import Answers, calibration_error, confusion_of, measure, with_intervals

CLASSES = ("Glioma", "PCNSL", "Rare")


def answers(count: int = 200, cases_a_patient: int = 2) -> Answers:
    """Give answers that are as sure as they are right."""
    rng = np.random.default_rng(3)
    probability = rng.dirichlet([0.6, 0.6, 0.6], count)
    target = np.array([rng.choice(3, p=row) for row in probability])
    patient = np.array([f"p{index // cases_a_patient}" for index in range(count)])
    number = np.arange(count)
    return Answers(probability, probability, probability > 0.2, target, patient, number % 5, number.astype(str))


def test_figures_are_those_of_scikit_learn() -> None:
    given = answers()
    guess, target = given.probability.argmax(axis=1), given.target

    found = measure(given, CLASSES)

    assert found["accuracy"] == pytest.approx(accuracy_score(target, guess))
    assert found["macro F1"] == pytest.approx(f1_score(target, guess, average="macro"))
    assert found["AUC, one versus rest"] == pytest.approx(roc_auc_score(target, given.probability, multi_class="ovr"))
    recalls = [found[f"recall {name}"] for name in CLASSES]
    assert recalls == pytest.approx(list(recall_score(target, guess, average=None)))
    assert int(confusion_of(given, 3).sum()) == len(target)


def test_the_calibration_error_is_small_where_confidence_is_true_and_large_where_it_is_not() -> None:
    given = answers(4000)
    sharpened = given.probability**6 / (given.probability**6).sum(axis=1, keepdims=True)

    assert calibration_error(given.probability, given.target) < 0.03
    assert calibration_error(sharpened, given.target) > 0.15


def test_intervals_are_wider_where_a_patient_has_many_cases() -> None:
    widths = []
    for cases_a_patient in (1, 20):
        given = answers(200, cases_a_patient)
        ordered = given.take(np.argsort(given.target == given.probability.argmax(axis=1), kind="stable"))
        together = Answers(**(vars(ordered) | {"patient": given.patient}))
        figure = with_intervals(together, lambda some: measure(some, CLASSES), 1, 200)["accuracy"]
        widths.append(figure.high - figure.low)
        assert figure.low <= figure.value <= figure.high

    assert widths[1] > 2 * widths[0]


def test_a_class_that_does_not_occur_has_no_recall_and_spoils_nothing() -> None:
    given = answers()
    without = given.take(np.flatnonzero(given.target != 2))

    found = measure(without, CLASSES)

    assert np.isnan(found["recall Rare"])
    assert all(np.isfinite(value) for name, value in found.items() if name != "recall Rare")
