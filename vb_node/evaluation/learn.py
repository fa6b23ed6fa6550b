"""``vb-node train diagnoser --data``: learn from a site's own cases."""

from dataclasses import replace
from pathlib import Path

from vb_node.evaluation.finished import classes_with, refuse_known
from vb_node.evaluation.prepare import Prepared, Source, left_out, patients, prepare, seen
from vb_node.evaluation.split import PARTS, hold_out, split
from vb_node.training.curves import Curve, no_curve
from vb_node.training.diagnoser import PHANTOMS_ONLY, Lesson, learn
from vb_node.training.fit import Course
from vb_node.training.phantom import Progress

PREPARED = "prepared"


def train_on_cases(
    source: Source, out: Path, course: Course, progress: Progress, curve: Curve = no_curve
) -> dict[str, float]:
    """Train on a data set: five times on four patients in five, which calibrates and measures, then on all.

    What was prepared and learned is kept in ``out``: the same command goes on where it was stopped. Gives the figures.

    Raises
    ------
    ConfigError
        The data set is not as expected, or the weights to start from do not fit it.
    """
    found, start = source.read(), course.start
    refuse_known(found, start)
    classes = classes_with(found.classes, start)
    trainings = PARTS + 1
    total = len(found.cases) + trainings * course.epochs
    readied = prepare(found, classes, out / PREPARED, lambda done, _: progress(done, total), source.masks)
    all_cases = readied.to_learn_from()
    prepared = seen(all_cases)
    is_synthetic = found.is_synthetic and (start is None or start.metadata["is_trained_on_synthetic_data"])
    lesson = Lesson(
        [one.sample for one in prepared],
        list(split([one.sample.target for one in prepared], patients(prepared), course.seed)),
        classes,
        f"{len(prepared)} cases of the data set sha256:{found.sha256}{left_out(all_cases)}"
        + (f", from weights sha256:{start.sha256} on" if start else "")
        + (f"; {PHANTOMS_ONLY}" if is_synthetic else ""),
        f"vb-node train diagnoser {source.words} --seed {course.seed} --epochs {course.epochs}"
        + (f" --start {start.sha256[:12]}" if start else course.architecture.words),
        replace(course, classes=len(classes)),
        is_synthetic=is_synthetic,
        data_sha256=found.sha256,
    )
    return learn(lesson, out, lambda done, _: progress(len(found.cases) + done, total), curve)


def divide(prepared: list[Prepared], seed: int) -> tuple[list[Prepared], list[Prepared]]:
    """Divide into what is learned from and what the rest is calibrated on."""
    known, held_out = hold_out([one.sample.target for one in prepared], patients(prepared), seed)
    return [prepared[index] for index in known], [prepared[index] for index in held_out]
