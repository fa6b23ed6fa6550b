"""``vb-node train diagnoser --data``: learn from a site's own cases."""

from pathlib import Path

from vb_node.evaluation.prepare import Prepared, patients, prepare
from vb_node.evaluation.split import hold_out
from vb_node.training.cases import read_data_set
from vb_node.training.curves import Curve, no_curve
from vb_node.training.diagnoser import Lesson, learn
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES

PREPARED = "prepared"


def classes_of(names: set[str | None]) -> tuple[str, ...]:
    """Give the classes that occur, in the order in which they are always told."""
    return tuple(name for name in CLASSES if name in names)


def train_on_cases(
    data: Path, out: Path, seed: int, epochs: int, progress: Progress, curve: Curve = no_curve
) -> dict[str, float]:
    """Train on a data set, holding out one patient in five of each class; give the figures.

    What was prepared and learned is kept in ``out``: the same command goes on where it was stopped.
    """
    found = read_data_set(data).with_tumour()
    classes, total = classes_of({case.tumour_class for case in found.cases}), len(found.cases) + 2 * epochs
    prepared = prepare(found, classes, out / PREPARED, lambda done, _: progress(done, total))
    known, held_out = divide(prepared, seed)
    command = f"vb-node train diagnoser --data {data.name} --seed {seed} --epochs {epochs}"
    lesson = Lesson(
        [one.sample for one in known],
        [one.sample for one in held_out],
        classes,
        f"{len(prepared)} cases of the data set sha256:{found.sha256}",
        found.sha256,
        command,
        seed,
        epochs,
    )
    return learn(lesson, out, lambda done, _: progress(len(found.cases) + done, total), curve)


def divide(prepared: list[Prepared], seed: int) -> tuple[list[Prepared], list[Prepared]]:
    """Divide into what is learned from and what the rest is calibrated on."""
    known, held_out = hold_out([one.sample.target for one in prepared], patients(prepared), seed)
    return [prepared[index] for index in known], [prepared[index] for index in held_out]
