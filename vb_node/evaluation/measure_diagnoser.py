"""``vb-node evaluate diagnoser``, from the data set to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.errors import ConfigError
from vb_node.evaluation.case_by_case import (
    RIGHT_OF_ALL,
    RIGHT_OF_BAND,
    average,
    averages_sheet,
    averages_told,
    right_of,
)
from vb_node.evaluation.diagnoser import MCA, Protocol, Reader, answer_by, cross_validate
from vb_node.evaluation.figures import Answers, Figure, confusion_of, measure, reliability, with_intervals
from vb_node.evaluation.finished import classes_with, named, open_finished, refuse_known
from vb_node.evaluation.learn import PREPARED
from vb_node.evaluation.prepare import Cases, Prepared, Source, left_out, patients, prepare, prepare_phantoms, seen
from vb_node.evaluation.report import Curve, Report, Sheet, number, shown, write
from vb_node.evaluation.split import PARTS, fitting
from vb_node.models.weights import Weights
from vb_node.training.cases import lesion_ml
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES

KEPT = "kept"
NOTES = (
    "Intervals are 95 % bootstrap intervals over patients; they know nothing of another scanner, another site or "
    "another training seed.",
    "Temperature and conformal threshold were set on held-out cases whose masks have a localizer's faults, its own or "
    "drawn: where masks are drawn, look for calibration at the arm with faulty masks.",
)
WHOLE = "From image to class: the most probable one; not analysed or not localised counts as wrong"
Measured = Mapping[str, Mapping[str, Figure]]


def evaluate_diagnoser(
    source: Source, out: Path, protocol: Protocol, weights: Path | None, progress: Progress
) -> dict[str, dict[str, Figure]]:
    """Cross-validate, or test the weights of a bundle or ``SHIPPED``; write the report, give each arm's figures.

    Raises
    ------
    ConfigError
        The data set or the bundle is not as expected, or has too few patients of a class.
    """
    if weights is not None and protocol.start is not None:
        raise ConfigError("--weights tests finished weights and trains nothing, --start begins a training: give one")
    opened = open_finished(weights) if weights is not None else None
    work = 0 if opened else 2 * (protocol.folds or PARTS) * protocol.epochs
    known = opened or protocol.start
    cases, classes, about = _prepared(source, known, out, protocol.seed, lambda n, of: progress(n, of + work))
    prepared, count = seen(cases.prepared), len(cases.entries)
    if not prepared:
        named_each = "".join(f"\n  {one.case.name}: {one.reason}" for one in cases.refused)
        raise ConfigError(f"no case in which a lesion is shown: {count} came{named_each}")
    protocol = replace(protocol, folds=protocol.folds or _fitting(prepared))
    if opened is None:
        arms = cross_validate(
            prepared, len(classes), protocol, out / KEPT, lambda done, _: progress(count + done, count + work)
        )
    else:
        arms = answer_by(reader_of(opened), prepared, protocol.seed)
    about |= _about(opened, named(weights) if weights else "", protocol, source)
    return write_report(out, arms, classes, about, protocol.seed, cases)


def _fitting(prepared: Sequence[Prepared]) -> int:
    return fitting([one.sample.target for one in prepared], patients(prepared))


def _prepared(
    source: Source, opened: Weights | None, out: Path, seed: int, progress: Progress
) -> tuple[Cases, tuple[str, ...], dict[str, str]]:
    """Give the cases, the classes they count in, and what is told of them."""
    if source.data is None:
        classes = classes_with(CLASSES, opened)
        cases = prepare_phantoms(source.phantoms, classes, seed, out / PREPARED, progress)
        return cases, classes, {"data": f"{cases.entries[0].name} to {cases.entries[-1].name}, generated"}
    found = source.read()
    refuse_known(found, opened)
    classes = classes_with(found.classes, opened)
    cases = prepare(found, classes, out / PREPARED, progress, source.masks)
    about = {"data": source.data.name + left_out(cases.prepared), "data sha256": found.sha256}
    return cases, classes, about


def reader_of(weights: Weights) -> Reader:
    """Make finished weights read as a diagnosis reads them; raise ``ConfigError`` where they do not fit."""
    try:
        diagnoser = Diagnoser.of(weights)
    except (LookupError, ValueError, TypeError, RuntimeError) as error:
        what = "the bundle's weights do not fit the network of this version: train them again"
        raise ConfigError(f"{what} ({type(error).__name__})") from error
    return Reader(diagnoser.network, diagnoser.temperature, diagnoser.conformal)


def _about(opened: Weights | None, option: str, protocol: Protocol, source: Source) -> dict[str, str]:
    command, told = f"vb-node evaluate diagnoser {source.words} --seed {protocol.seed}", {"seed": str(protocol.seed)}
    if opened is not None:
        return told | {"command": f"{command} --weights {option}", "weights sha256": opened.sha256}
    own = f" --folds {protocol.folds} --epochs {protocol.epochs}"
    if protocol.start is None:
        own += protocol.architecture.words
        return told | {"command": command + own, "weights sha256": "none: each fold trains its own"}
    command += f"{own} --start {protocol.start.sha256[:12]}"
    command += f" --baseline {protocol.baseline.sha256[:12]}" if protocol.baseline else ""
    return told | {"command": command, "weights sha256": f"each fold goes on from {protocol.start.sha256}"}


def write_report(  # noqa: PLR0913, PLR0917
    out: Path,
    arms: Mapping[str, Answers],
    classes: Sequence[str],
    about: Mapping[str, str],
    seed: int,
    cases: Cases,
) -> dict[str, dict[str, Figure]]:
    """Measure each arm and write what is left of an evaluation; ``cases`` are those without an answer too."""
    measured = {arm: with_intervals(one, lambda some: measure(some, classes), seed) for arm, one in arms.items()}
    main = arms[MCA]
    whole, counts = from_image(cases, main, seed)
    sheets = [_figures_sheet(measured), averages_sheet(WHOLE, whole, counts), _folds_sheet(arms, classes)]
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
    rows = [row for arm, answers in arms.items() for row in _case_rows(arm, answers, classes)]
    write(
        out,
        Report(
            "Adaptive-Diagnoser, evaluated",
            dict(about),
            (counted, *NOTES, *(f"Not analysed: {one.case.name}: {one.reason}" for one in cases.refused)),
            sheets,
            curves,
            rows,
            {"arms": figures, "from image to class": averages_told(whole, counts)},
        ),
    )
    return measured


def from_image(cases: Cases, answers: Answers, seed: int) -> tuple[dict[str, Figure], dict[str, int]]:
    """Average over all cases, of which those without an answer count as wrong: not analysed, or nothing localised."""
    right = dict(zip(answers.case.tolist(), answers.probability.argmax(axis=1) == answers.target, strict=True))
    entries = cases.entries
    rows = [right_of(float(right.get(one.name, False)), lesion_ml(one)) for one in entries]
    return average([one.patient for one in entries], rows, (RIGHT_OF_ALL, RIGHT_OF_BAND), seed)


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
