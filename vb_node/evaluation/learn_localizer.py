"""``vb-node train localizer --data``: Tumor-Localizer's network learns from a site's cases beside generated heads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.model_selection import GroupShuffleSplit

from vb_node.applications.virtual_biopsy.process import process
from vb_node.errors import ConfigError, Unfit
from vb_node.evaluation.code import code_sha256
from vb_node.evaluation.finished import refuse_known
from vb_node.evaluation.learn import PREPARED
from vb_node.pipeline.resample import mask_to_grid
from vb_node.training.cases import DataCase, read_case, read_data_set
from vb_node.training.curves import Curve, no_curve
from vb_node.training.fit_localizer import HELD_OUT, MEASURED_CROPS, Heads, Lesson, train_localizer
from vb_node.training.phantom import Progress
from vb_node.training.training_head import TrainingHead, head_of, keep_head, read_head


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
    """
    found = read_data_set(data)
    refuse_known(found, lesson.start)
    total = len(found.cases) + lesson.heads + lesson.phantoms + lesson.steps
    heads = _prepare(found.cases, out / PREPARED, lambda done, _: progress(done, total))
    start = lesson.start
    lesson = replace(
        lesson,
        data=data.name,
        data_sha256=found.sha256,
        is_synthetic=found.is_synthetic
        and (start is None or bool(start.metadata.get("is_trained_on_synthetic_data", True))),
    )
    site = divide(found.cases, heads, lesson.seed)
    told = len(found.cases)
    return train_localizer(out, lesson, lambda done, _: progress(told + done, total), measured_crops, curve, site)


def divide(cases: Sequence[DataCase], heads: Sequence[TrainingHead], seed: int) -> tuple[Heads, Heads]:
    """Give the heads that teach and those held out; no patient is in both.

    Raises
    ------
    ConfigError
        There are too few patients with a tumour: some are to teach, and some to be held out.
    """
    patients = [case.patient for case in cases]
    if len(set(patients)) < 2:
        raise ConfigError("two patients or more expected, so that one can be held out; one came")
    splitter = GroupShuffleSplit(n_splits=1, test_size=HELD_OUT, random_state=seed)
    sides = [[heads[n] for n in side] for side in next(splitter.split(heads, groups=patients))]
    known, held_out = (
        Heads([one for one in side if not one.has_tumour], [one for one in side if one.has_tumour]) for side in sides
    )
    if not (known.tumours and held_out.tumours):
        raise ConfigError(
            f"{len(set(patients))} patients came, and by seed {seed} none with a tumour is "
            f"{'to learn from' if not known.tumours else 'held out'}: more cases with a mask are expected"
        )
    return known, held_out


def _prepare(cases: Sequence[DataCase], keep: Path, progress: Progress) -> list[TrainingHead]:
    """Standardise each case as a job would, or read what is kept; raise ``ConfigError`` naming those that cannot be."""
    keep.mkdir(parents=True, exist_ok=True)
    heads, problems = [], []
    for done, case in enumerate(cases, start=1):
        path = keep / f"head-{case.sha256[:24]}-{code_sha256()[:12]}.npz"
        try:
            if case.tumour_class is not None and case.lesion is None:
                raise Unfit("a tumour and no mask: where it is, a localizer can learn from a mask alone")
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
    lesion = standard.brain & False if labels is None else mask_to_grid(labels > 0, volume.grid, standard.grid)
    return head_of(standard, lesion)
