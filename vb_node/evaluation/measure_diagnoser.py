"""``vb-node evaluate diagnoser``, from the data set to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.errors import ConfigError
from vb_node.evaluation.diagnoser import MCA, Protocol, Reader, answer_by, cross_validate
from vb_node.evaluation.figures import Answers, Figure, confusion_of, measure, reliability, with_intervals
from vb_node.evaluation.learn import PREPARED, classes_of
from vb_node.evaluation.prepare import prepare
from vb_node.evaluation.report import Curve, Report, Sheet, number, shown, write
from vb_node.models.bundle import read_bundle
from vb_node.models.weights import Weights
from vb_node.training.calibrate import Conformal
from vb_node.training.cases import DataSet, read_data_set
from vb_node.training.phantom import Progress

KEPT = "kept"
NOTES = (
    "Intervals are 95 % bootstrap intervals over patients; they know nothing of another scanner, another site or "
    "another training seed.",
    "Temperature and conformal threshold were set on held-out cases whose masks have a localizer's faults: look for "
    "calibration at the arm with faulty masks.",
)
Measured = Mapping[str, Mapping[str, Figure]]


def evaluate_diagnoser(
    data: Path, out: Path, protocol: Protocol, weights: Path | None, progress: Progress
) -> dict[str, dict[str, Figure]]:
    """Cross-validate on a data set, or test the weights of a bundle on it; write the report, give each arm's figures.

    Raises
    ------
    ConfigError
        The data set or the bundle is not as expected, or has too few patients of a class.
    """
    found = read_data_set(data).with_tumour()
    opened = None if weights is None else read_bundle(weights)
    classes = _classes(found, opened)
    work = 0 if opened else 2 * protocol.folds * protocol.epochs
    count = len(found.cases)
    prepared = prepare(found, classes, out / PREPARED, lambda done, _: progress(done, count + work))
    if opened is None:
        arms = cross_validate(
            prepared, len(classes), protocol, out / KEPT, lambda done, _: progress(count + done, count + work)
        )
    else:
        arms = answer_by(reader_of(opened), prepared, protocol.seed)
    about = {"data": data.name, "data sha256": found.sha256} | _about(opened, protocol, data)
    return write_report(out, arms, classes, about, protocol.seed)


def _classes(found: DataSet, opened: Weights | None) -> tuple[str, ...]:
    classes = classes_of(set(found.classes))
    if opened is None:
        return classes
    known = tuple(opened.metadata["classes"])
    if unknown := set(classes) - set(known):
        raise ConfigError(f"the weights know {', '.join(known)}; the data set has {', '.join(sorted(unknown))} too")
    if opened.metadata.get("data_sha256") == found.sha256:
        raise ConfigError("the weights were trained on this data set: test them on other cases, or leave out --weights")
    return known


def reader_of(weights: Weights) -> Reader:
    """Make finished weights read as a diagnosis reads them."""
    conformal = Conformal(**weights.metadata["conformal"])
    return Reader(Diagnoser.of(weights).network, float(weights.metadata["temperature"]), conformal)


def _about(opened: Weights | None, protocol: Protocol, data: Path) -> dict[str, str]:
    command, told = (
        f"vb-node evaluate diagnoser --data {data.name} --seed {protocol.seed}",
        {"seed": str(protocol.seed)},
    )
    if opened is not None:
        return told | {"command": f"{command} --weights BUNDLE", "weights sha256": opened.sha256}
    own = f" --folds {protocol.folds} --epochs {protocol.epochs}"
    return told | {"command": command + own, "weights sha256": "none: each fold trains its own"}


def write_report(
    out: Path, arms: Mapping[str, Answers], classes: Sequence[str], about: Mapping[str, str], seed: int
) -> dict[str, dict[str, Figure]]:
    """Measure each arm and write what is left of an evaluation."""
    measured = {arm: with_intervals(one, lambda some: measure(some, classes), seed) for arm, one in arms.items()}
    main = arms[MCA]
    sheets = [_figures_sheet(measured), _folds_sheet(arms, classes)]
    sheets += [_confusion_sheet(arm, answers, classes) for arm, answers in arms.items()]
    curves = [Curve(f"{arm}: reliability", reliability(one.probability, one.target)) for arm, one in arms.items()]
    figures = {
        arm: {
            "measured": {name: asdict(figure) for name, figure in measured[arm].items()},
            "confusion": confusion_of(answers, len(classes)).tolist(),
            "reliability": reliability(answers.probability, answers.target),
        }
        for arm, answers in arms.items()
    }
    counted = f"{len(main.target)} cases of {len(set(main.patient.tolist()))} patients: " + ", ".join(
        f"{int((main.target == index).sum())} {name}" for index, name in enumerate(classes)
    )
    cases = [row for arm, answers in arms.items() for row in _case_rows(arm, answers, classes)]
    write(
        out,
        Report(
            "Adaptive-Diagnoser, evaluated", dict(about), (counted, *NOTES), sheets, curves, cases, {"arms": figures}
        ),
    )
    return measured


def _figures_sheet(measured: Measured) -> Sheet:
    names = next(iter(measured.values()))
    rows = [[name, *(shown(figures[name]) for figures in measured.values())] for name in names]
    return Sheet("Figures with 95 % intervals", ["", *measured], rows)


def _folds_sheet(arms: Mapping[str, Answers], classes: Sequence[str]) -> Sheet:
    """Tell the accuracy of each fold, mean and standard deviation."""
    rows = []
    for arm, answers in arms.items():
        of_fold = [answers.take(np.flatnonzero(answers.fold == fold)) for fold in np.unique(answers.fold)]
        right = np.array([measure(one, classes)["accuracy"] for one in of_fold])
        spread = number(float(right.std(ddof=1))) if len(right) > 1 else "-"
        rows.append([arm, ", ".join(number(float(one)) for one in right), number(float(right.mean())), spread])
    return Sheet("Accuracy of each fold", ["", "folds", "mean", "standard deviation"], rows)


def _confusion_sheet(arm: str, answers: Answers, classes: Sequence[str]) -> Sheet:
    rows = confusion_of(answers, len(classes))
    lines = [[name, *(str(count) for count in row)] for name, row in zip(classes, rows.tolist(), strict=True)]
    return Sheet(f"{arm}: class (row) and most probable class (column)", ["", *classes], lines)


def _case_rows(arm: str, answers: Answers, classes: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "case": str(answers.case[index]),
            "arm": arm,
            "fold": int(answers.fold[index]),
            "class": classes[int(answers.target[index])],
            "most probable": classes[int(answers.probability[index].argmax())],
            "conformal set": " ".join(
                name for name, is_in in zip(classes, answers.in_set[index], strict=True) if is_in
            ),
            **{name: round(float(p), 4) for name, p in zip(classes, answers.probability[index], strict=True)},
        }
        for index in range(len(answers.target))
    ]


def rows_for_people(measured: Measured) -> list[list[str]]:
    """Give the lines that the command prints: a figure a line, an arm a column."""
    names = next(iter(measured.values()))
    return [[name, *(number(figures[name].value) for figures in measured.values())] for name in names]
