"""``vb-node evaluate diagnoser``: cross-validation by patient, or a test of finished weights, in several arms.

Arms: the network with masked channel attention and its lesion masks as they are; with a localizer's faults drawn into
them; with the mask of another case; without the lesion's radiomics; and the same backbone that sees no mask.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vb_node.evaluation.figures import Answers
from vb_node.evaluation.learn import divide
from vb_node.evaluation.prepare import Prepared, patients
from vb_node.evaluation.split import folds, refuse_too_few
from vb_node.models.architecture import Architecture
from vb_node.models.conformal import Conformal
from vb_node.models.diagnoser import DiagnoserNetwork, Fusion
from vb_node.models.radiomics import Radiomics
from vb_node.models.weights import Weights
from vb_node.training.augment import as_found, spoil
from vb_node.training.calibrate import set_confidence
from vb_node.training.dataset import Sample
from vb_node.training.fit import Batch, Course, fit, infer
from vb_node.training.phantom import Progress

MCA, FAULTY, ELSEWHERE = "MCA", "MCA, faulty mask", "MCA, mask of another case"
ALONE, GAP = "MCA, without radiomics", "GAP only"
FUSIONS: tuple[Fusion, ...] = ("mca", "gap")


@dataclass(frozen=True, eq=False)
class Reader:
    """A network as a diagnosis reads it."""

    network: DiagnoserNetwork
    temperature: float
    conformal: Conformal

    def answer(self, cases: Sequence[Prepared], samples: Sequence[Sample], fold: int) -> Answers:
        """Read samples of these cases, which may have other masks than theirs."""
        logits, _ = infer(self.network, Batch.of(samples))
        raw, probability = (torch.softmax(logits / t, dim=1).double().numpy() for t in (1.0, self.temperature))
        return Answers(
            probability,
            raw,
            probability >= self.conformal.least_probability,
            np.array([sample.target for sample in samples]),
            np.array(patients(cases)),
            np.full(len(cases), fold),
            np.array([one.case.name for one in cases]),
        )


@dataclass(frozen=True)
class Protocol:
    """How a cross-validation is run; each training goes on from ``start``, or begins anew.

    ``folds`` 0 is as many as fit. ``baseline`` are the weights that the arm without mask goes on from: those of
    ``start`` learned with a mask.
    """

    folds: int
    seed: int
    epochs: int
    start: Weights | None = None
    baseline: Weights | None = None
    architecture: Architecture = Architecture()
    device: str = "cpu"


def cross_validate(
    prepared: list[Prepared], classes: int, protocol: Protocol, keep: Path, progress: Progress
) -> dict[str, Answers]:
    """Train on each fold's rest and answer what it holds out; give the answers of each arm, pooled over folds."""
    of_fold = []
    targets = [one.sample.target for one in prepared]
    refuse_too_few(targets, patients(prepared), protocol.folds)
    for fold, (rest, held_out) in enumerate(folds(targets, patients(prepared), protocol.folds, protocol.seed)):
        readers: dict[str, Reader] = {}
        for number, fusion in enumerate(FUSIONS, start=len(FUSIONS) * fold):
            tell = partial(_tell, progress, number, protocol)
            readers |= _learn([prepared[index] for index in rest], classes, fusion, protocol, keep, tell)
        of_fold.append(dict(_arms(readers, [prepared[index] for index in held_out], fold, protocol.seed)))
    return {arm: Answers.joined([answers[arm] for answers in of_fold]) for arm in of_fold[0]}


def _learn(
    rest: list[Prepared], classes: int, fusion: Fusion, protocol: Protocol, keep: Path, progress: Progress
) -> dict[str, Reader]:
    """Train one network on most of a fold's rest and calibrate it on what remains; give it by the arm it answers in."""
    known, calibration = ([one.sample for one in part] for part in divide(rest, protocol.seed))
    start = (protocol.baseline or protocol.start) if fusion == "gap" else protocol.start
    course = Course(protocol.seed, protocol.epochs, classes, start, protocol.architecture, protocol.device)
    network = fit(known, course, fusion, progress, keep)
    batch = Batch.of(as_found(calibration, protocol.seed))
    arms = {GAP: network} if fusion == "gap" else {MCA: network, ALONE: _without_radiomics(network)}
    return {arm: Reader(one, *set_confidence(infer(one, batch)[0], batch.target)) for arm, one in arms.items()}


def _without_radiomics(network: DiagnoserNetwork) -> DiagnoserNetwork:
    """Give the network as it answers by its maps alone."""
    alone = deepcopy(network)
    alone.radiomics = Radiomics(network.head_fine.out_features)
    return alone.eval()


def _tell(progress: Progress, before: int, protocol: Protocol, done: int, _total: int) -> None:
    """Tell the epochs that were done, ``before`` whole trainings among them."""
    progress(before * protocol.epochs + done, len(FUSIONS) * protocol.folds * protocol.epochs)


def answer_by(reader: Reader, prepared: Sequence[Prepared], seed: int) -> dict[str, Answers]:
    """Answer every case by finished weights; none of the cases may have been learned from."""
    return dict(_arms({MCA: reader}, prepared, 0, seed))


def _arms(
    readers: Mapping[str, Reader], tested: Sequence[Prepared], fold: int, seed: int
) -> Iterator[tuple[str, Answers]]:
    own = [one.sample for one in tested]
    yield MCA, readers[MCA].answer(tested, own, fold)
    yield FAULTY, readers[MCA].answer(tested, spoil(own, seed), fold)
    yield ELSEWHERE, readers[MCA].answer(tested, _swapped(own), fold)
    for arm in (ALONE, GAP):
        if arm in readers:
            yield arm, readers[arm].answer(tested, own, fold)


def _swapped(samples: Sequence[Sample]) -> list[Sample]:
    """Give each case the mask of its neighbour."""
    others = [*samples[1:], samples[0]]
    return [replace(one, lesion=other.lesion) for one, other in zip(samples, others, strict=True)]
