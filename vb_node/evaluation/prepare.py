"""A site's cases as the network's inputs: standardised as a job would, their lesions from the mask or the localizer.

What was prepared is kept under the digest of the case and of the code that prepares, so that a command that was stopped
goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.process import process
from vb_node.errors import ConfigError, Unfit
from vb_node.models.diagnoser import network_input
from vb_node.models.pins import LOCALIZER, digests
from vb_node.pipeline.resample import mask_to_grid
from vb_node.training.cases import DataCase, DataSet, read_case, read_data_set
from vb_node.training.code import code_sha256
from vb_node.training.dataset import Sample, make_samples, read_sample
from vb_node.training.diagnoser import SEEDS_PER_TRAINING
from vb_node.training.manifest import Entry
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES
from vb_node.types import Grid, Labels, Prior, StandardVolume

Masks = Literal["drawn", "localizer"]


@dataclass(frozen=True)
class Source:
    """Where cases come from: a data set, or ``phantoms`` generated ones; and whose masks say where a lesion is.

    Masks are the drawn ones, and where there is none the localizer's; or all the localizer's.
    """

    data: Path | None
    phantoms: int = 0
    masks: Masks = "drawn"

    def __post_init__(self) -> None:
        if self.data is None and self.masks != "drawn":
            raise ConfigError("--masks localizer is of a data set: name it with --data")

    @property
    def words(self) -> str:
        """Give the options that name it."""
        if self.data is None:
            return f"--phantoms {self.phantoms}"
        return f"--data {self.data.name}" + (f" --masks {self.masks}" if self.masks != "drawn" else "")

    def read(self) -> DataSet:
        """Read the data set's cases with a tumour; raise ``ConfigError`` where it is not as expected."""
        if self.data is None:
            raise ConfigError("a data set expected: name it with --data")
        return read_data_set(self.data).with_tumour()


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case ready for the network; ``target`` counts in the classes of its set."""

    case: Entry
    sample: Sample


@dataclass(frozen=True, eq=False)
class Refused:
    """One case that MRI-Processor or the reading of its files refused, and why."""

    case: Entry
    reason: str


@dataclass(frozen=True, eq=False)
class Cases:
    """What became of a data set: the cases that can be shown to a network, and those that cannot be analysed."""

    prepared: list[Prepared]
    refused: list[Refused]

    @property
    def entries(self) -> list[Entry]:
        """Every case that there is."""
        return [*(one.case for one in self.prepared), *(one.case for one in self.refused)]

    def to_learn_from(self) -> list[Prepared]:
        """Give the cases for a training; raise ``ConfigError`` naming those that cannot be analysed."""
        if self.refused:
            named = "\n".join(f"  {one.case.name}: {one.reason}" for one in self.refused)
            raise ConfigError(f"cases that cannot be analysed; leave them out:\n{named}")
        return self.prepared


def prepare(data: DataSet, classes: Sequence[str], keep: Path, progress: Progress, masks: Masks = "drawn") -> Cases:
    """Prepare every case with a tumour, or read what ``keep`` already holds."""
    keep.mkdir(parents=True, exist_ok=True)
    prepared, refused = [], []
    for done, case in enumerate(data.cases, start=1):
        try:
            shown = replace(case, lesion=None) if masks == "localizer" else case
            prepared.append(Prepared(case, _kept(shown, classes, keep)))
        except Unfit as error:
            refused.append(Refused(case, f"{error.reason}: {error}"))
        progress(done, len(data.cases))
    return Cases(prepared, refused)


def prepare_phantoms(count: int, classes: Sequence[str], seed: int, keep: Path, progress: Progress) -> Cases:
    """Generate phantoms acquired straight on the network's grid; no training with this seed has the same."""
    first = seed * SEEDS_PER_TRAINING + SEEDS_PER_TRAINING // 2
    samples = make_samples(keep, count, first, 2, progress)
    names = tuple(CLASSES)
    prepared = []
    for seed_of_case, sample in enumerate(samples, start=first):
        name = f"phantom {seed_of_case}"
        entry = Entry(name, name, names[sample.target], keep, None)
        target = classes.index(names[sample.target])
        prepared.append(Prepared(entry, replace(sample, target=target)))
    return Cases(prepared, [])


def seen(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Leave out cases in which the localizer found nothing: the node gives those no class."""
    return [one for one in prepared if one.sample.lesion.any()]


def left_out(prepared: Sequence[Prepared]) -> str:
    """Say how many were left out, where any were."""
    missed = len(prepared) - len(seen(prepared))
    return f", {missed} more were left out, since nothing was localised in them" if missed else ""


def _kept(case: DataCase, classes: Sequence[str], keep: Path) -> Sample:
    outlined = "drawn" if case.lesion else digests()[LOCALIZER]
    name = sha256(f"{case.sha256} {outlined} {code_sha256()}".encode()).hexdigest()[:24]
    path = keep / f"case-{name}.npz"
    if not path.exists():
        image, lesion = network_input(*standardised(case))
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, image=image[0].half().numpy(), lesion=lesion[0].half().numpy(), target=0)
        part.replace(path)
    sample = read_sample(path)
    return replace(sample, target=classes.index(str(case.tumour_class)), is_found=case.lesion is None)


def standardised(case: DataCase) -> tuple[StandardVolume, Prior]:
    """Give what the diagnosis would see; without a mask what the network localizer finds, which may be nothing."""
    volume, labels = read_case(case)
    standard = process(volume)
    if labels is None:
        return standard, localise(standard, _detector())
    return standard, prior_of(labels, volume.grid, standard)


@cache
def _detector() -> NetworkDetector:
    return NetworkDetector.load()


def prior_of(labels: Labels, source: Grid, standard: StandardVolume) -> Prior:
    """Give a drawn lesion as a faultless localizer would."""
    carried = mask_to_grid(labels > 0, source, standard.grid).astype(np.uint8)
    return Prior(carried.astype(np.float32), carried, (), 1.0, "localised")


def patients(prepared: Sequence[Prepared]) -> list[str]:
    """Give the patient of each case."""
    return [one.case.patient for one in prepared]
