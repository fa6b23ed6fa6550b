"""What is set on cases that were not learned from: temperature, conformal threshold, and the novelty guard.

Their masks have a localizer's faults, drawn or its own: a node never has the true mask.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vb_node.models.conformal import Conformal
from vb_node.models.diagnoser import DiagnoserNetwork
from vb_node.models.novelty import Cloud, NoveltyGuard
from vb_node.training.dataset import Sample
from vb_node.training.fit import Batch, infer


@dataclass(frozen=True, eq=False)
class Unseen:
    """What was said of cases by networks that had not learned from them.

    ``logits`` (n, classes), ``target`` (n), and the ``distances`` (2, n) to what each network had learned from.
    """

    logits: Tensor
    target: Tensor
    distances: Tensor

    @classmethod
    def joined(cls, parts: Sequence["Unseen"]) -> "Unseen":
        """Join the cases that different networks have not seen."""
        logits, target = (
            torch.cat(pieces) for pieces in zip(*((one.logits, one.target) for one in parts), strict=True)
        )
        return cls(logits, target, torch.cat([one.distances for one in parts], dim=1))


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that is set on cases that were not learned from."""

    temperature: float
    conformal: Conformal
    guard: NoveltyGuard

    def told(self) -> dict[str, Any]:
        """Give what the diagnosis reads from the weights' metadata."""
        return {"temperature": self.temperature, "conformal": asdict(self.conformal)}


def look(network: DiagnoserNetwork, guard: NoveltyGuard, held_out: Sequence[Sample]) -> Unseen:
    """Have a network and its guard answer what they have not seen."""
    batch = Batch.of(held_out)
    logits, fused = infer(network, batch)
    return Unseen(logits, batch.target, guard.distances(batch.image, fused))


def calibrate(guard: NoveltyGuard, unseen: Unseen) -> Calibration:
    """Set everything by what was said of unseen cases."""
    temperature, conformal = set_confidence(unseen.logits, unseen.target)
    return Calibration(temperature, conformal, guard.up_to(unseen.distances))


def fit_guard(network: DiagnoserNetwork, known: Sequence[Sample]) -> NoveltyGuard:
    """Fit the novelty guard to what was learned from."""
    batch = Batch.of(known)
    return NoveltyGuard.fit(batch.image, infer(network, batch)[1])


def refit_guard(guard: NoveltyGuard, network: DiagnoserNetwork, known: Sequence[Sample]) -> NoveltyGuard:
    """Give a guard the network's own vectors of what was learned from; how heads look, it keeps."""
    return replace(guard, fused=Cloud.fit(infer(network, Batch.of(known))[1]))


def set_confidence(logits: Tensor, target: Tensor) -> tuple[float, Conformal]:
    """Set temperature and conformal threshold by logits (n, classes) of cases that were not learned from."""
    temperature = fit_temperature(logits, target)
    return temperature, Conformal.of(torch.softmax(logits / temperature, dim=1), target)


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Find the temperature of least cross-entropy (Guo et al., ICML 2017), at least 1.

    A few held-out cases that are all right would have the lowest one, and a network be surer than any case bears out.
    """
    candidates = torch.linspace(1, 5, 81)
    losses = torch.stack([functional.cross_entropy(logits / t, target) for t in candidates])
    return float(candidates[losses.argmin()])
