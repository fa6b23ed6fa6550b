"""``vb-node train localizer --data``: Tumor-Localizer's network learns from a site's cases beside generated heads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from vb_node.applications.virtual_biopsy.process import process
from vb_node.errors import ConfigError, Unfit
from vb_node.evaluation.finished import refuse_known
from vb_node.evaluation.learn import PREPARED
from vb_node.pipeline.resample import mask_to_grid
from vb_node.training.cases import DataCase, read_case, read_data_set
from vb_node.training.code import code_sha256
from vb_node.training.curves import Curve, no_curve
from vb_node.training.fit_localizer import HELD_OUT, MEASURED_CROPS, Heads, Lesson, train_localizer
from vb_node.training.phantom import Progress
from vb_node.training.training_head import TrainingHead, head_of, keep_head, read_head

# the share of a cell from which it is a lesion to the training
SHOWN = 0.5


def train_localizer_on_cases(  # noqa: PLR0913, PLR0917  one parameter an option
    data: Path,
    out: Path,
    lesson: Lesson,
    progress: Progress,
    curve: Curve = no_curve,
    measured_crops: int = MEASURED_CROPS,
) -> dict[str, float]:
    """Train on a data set beside generated heads; about one patient in seven is held out and measured on.

    What was prepared and learned is kept in ``out``: the same command goes on where it was stopped. Gives the figures.

    Raises
    ------
    ConfigError
        The data set is not as expected; a case has a tumour and no mask, or cannot be analysed: each is named.
        Or too few patients have a tumour.
    """
    found = read_data_set(data)
    refuse_known(found, lesson.start)
    sides = divide(found.cases, lesson.seed)
    total = len(found.cases) + lesson.heads + lesson.phantoms + lesson.steps
    heads = _prepare(found.cases, out / PREPARED, lambda done, _: progress(done, total))
    known, held_out = (
        Heads([heads[n] for n in side if not heads[n].has_tumour], [heads[n] for n in side if heads[n].has_tumour])
        for side in sides
    )
    lesson = replace(lesson, data=data.name, data_sha256=found.sha256, has_patients=not found.is_synthetic)
    told = len(found.cases)
    return train_localizer(
        out, lesson, lambda done, _: progress(told + done, total), measured_crops, curve, (known, held_out)
    )


def divide(cases: Sequence[DataCase], seed: int) -> tuple[list[int], list[int]]:
    """Give the cases that teach and those held out; no patient is in both, and one with a tumour at least in each.

    Raises
    ------
    ConfigError
        A case has a tumour and no mask, or fewer than two patients have a tumour.
    """
    if bare := [case.name for case in cases if case.tumour_class is not None and case.lesion is None]:
        raise ConfigError(
            f"a tumour and no mask: {', '.join(bare)}; a localizer learns from masks where it is: leave them out"
        )
    known: list[int] = []
    held_out: list[int] = []
    for has_tumour in (True, False):
        some = [number for number, case in enumerate(cases) if (case.tumour_class is not None) == has_tumour]
        patients = [cases[number].patient for number in some]
        if len(set(patients)) > 1:
            splitter = GroupShuffleSplit(n_splits=1, test_size=HELD_OUT, random_state=seed)
            teach, test = next(splitter.split(some, groups=patients))
            known, held_out = [*known, *(some[n] for n in teach)], [*held_out, *(some[n] for n in test)]
        elif has_tumour:
            raise ConfigError(
                "two patients with a tumour or more expected, some to learn from and some held out; "
                f"{len(set(patients))} came"
            )
        else:
            known += some
    return known, held_out


def _prepare(cases: Sequence[DataCase], keep: Path, progress: Progress) -> list[TrainingHead]:
    """Standardise each case as a job would, or read what is kept; raise ``ConfigError`` naming those that cannot be."""
    keep.mkdir(parents=True, exist_ok=True)
    heads, problems = [], []
    for done, case in enumerate(cases, start=1):
        path = keep / f"head-{case.sha256[:24]}-{code_sha256()[:12]}.npz"
        try:
            if not path.exists():
                keep_head(path, _head(case))
            heads.append(read_head(path))
        except Unfit as error:
            problems.append(f"  {case.name}: {error}")
        progress(done, len(cases))
    if problems:
        raise ConfigError("cases that a localizer cannot learn from; leave them out:\n" + "\n".join(problems))
    return heads


def _head(case: DataCase) -> TrainingHead:
    volume, labels = read_case(case)
    standard = process(volume)
    if labels is None:
        return head_of(standard, np.zeros_like(standard.brain))
    head = head_of(standard, mask_to_grid(labels > 0, volume.grid, standard.grid))
    if not (head.lesion[head.outside_mm < 0] >= SHOWN).any():
        raise Unfit("its mask lies outside the brain, or vanishes at 2 mm: the tumour would be taught as healthy")
    return head
