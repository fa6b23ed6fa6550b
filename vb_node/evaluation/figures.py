"""What is measured on a classifier's answers, and how sure that is: bootstrap intervals over patients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vb_node.types import Matrix

BINS = 10
RESAMPLES = 1000
Counts = NDArray[np.int64]


class OfPatients(Protocol):
    """Something measured on cases: ``patient`` (n) says whose, ``take`` gives some of them."""

    @property
    def patient(self) -> NDArray[np.str_]: ...
    def take(self, index: NDArray[np.intp]) -> Self: ...


Some = TypeVar("Some", bound=OfPatients)


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered to n cases.

    ``probability`` (n, classes) is at the temperature, ``raw`` before it; ``in_set`` (n, classes) is the conformal
    set; ``target``, ``patient``, ``fold`` and ``case`` (n) say of what.
    """

    probability: Matrix
    raw: Matrix
    in_set: NDArray[np.bool_]
    target: Counts
    patient: NDArray[np.str_]
    fold: Counts
    case: NDArray[np.str_]

    def take(self, index: NDArray[np.intp]) -> Self:
        """Give some of them, repeated where the index is."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Give all of several, in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Figure:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float


def measure(answers: Answers, classes: Sequence[str]) -> dict[str, float]:
    """Measure everything; a figure that cannot be had, as the AUC of one class, is NaN."""
    confusion = confusion_of(answers, len(classes))
    hits, of_class, guessed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / of_class
    f1 = 2 * hits / np.maximum(of_class + guessed, 1)
    one_hot = np.eye(len(classes))[answers.target]
    own_set = answers.in_set[np.arange(len(answers.target)), answers.target]
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        **{f"recall {name}": float(value) for name, value in zip(classes, recall, strict=True)},
        "macro F1": float(f1[of_class > 0].mean()),
        "AUC, one versus rest": _auc(answers.probability, one_hot),
        "calibration error before temperature": calibration_error(answers.raw, answers.target),
        "calibration error after temperature": calibration_error(answers.probability, answers.target),
        "Brier score": float(((answers.probability - one_hot) ** 2).sum(axis=1).mean()),
        "conformal coverage": float(own_set.mean()),
        "conformal set size": float(answers.in_set.sum(axis=1).mean()),
    }


def confusion_of(answers: Answers, classes: int) -> Counts:
    """Count (class, most probable class)."""
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (answers.target, answers.probability.argmax(axis=1)), 1)
    return confusion


def _auc(probability: Matrix, one_hot: Matrix) -> float:
    """Average the area under the curve of each class against the rest, by ranks."""
    areas = []
    for column, own in zip(probability.T, one_hot.T, strict=True):
        positive, negative = int(own.sum()), int((1 - own).sum())
        if positive and negative:
            ranks = rankdata(column)[own > 0].sum()
            areas.append((ranks - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(areas)) if areas else float("nan")


def calibration_error(probability: Matrix, target: Counts) -> float:
    """Give the expected calibration error of the most probable class, in ten equal bins (Guo et al., ICML 2017)."""
    return float(sum(share * abs(right - sure) for sure, right, share in reliability(probability, target)))


def reliability(probability: Matrix, target: Counts) -> list[tuple[float, float, float]]:
    """Give (mean confidence, share right, share of cases) of each bin that holds a case."""
    sure, right = probability.max(axis=1), probability.argmax(axis=1) == target
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    inside = [bins == number for number in range(BINS) if (bins == number).any()]
    return [(float(sure[one].mean()), float(right[one].mean()), float(one.mean())) for one in inside]


def with_intervals(
    answers: Some, measured: Callable[[Some], Mapping[str, float]], seed: int, resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """Measure, with percentile intervals: patients are drawn with replacement, each with all of its cases."""
    rng = np.random.default_rng(seed)
    of_patient = [np.flatnonzero(answers.patient == name) for name in np.unique(answers.patient)]
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        chosen = rng.integers(len(of_patient), size=len(of_patient))
        for name, value in measured(answers.take(np.concatenate([of_patient[one] for one in chosen]))).items():
            drawn.setdefault(name, []).append(value)
    return {name: _figure(value, np.array(drawn[name])) for name, value in measured(answers).items()}


def _figure(value: float, drawn: Matrix) -> Figure:
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return Figure(value, float(low), float(high))
