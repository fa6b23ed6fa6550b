"""What is set on held-out cases after the training: temperature, conformal threshold, and the novelty guard.

Lesion masks are spoiled as a localiser would spoil them, the same way each time: a node never has the true mask.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn import functional

from vb_node.models.conformal import Conformal
from vb_node.models.diagnoser import DiagnoserNetwork
from vb_node.models.novelty import NoveltyGuard
from vb_node.training.augment import spoil_lesion
from vb_node.training.dataset import Sample
from vb_node.training.fit import Batch, infer


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that is set on held-out cases."""

    temperature: float
    conformal: Conformal
    guard: NoveltyGuard

    def told(self) -> dict[str, Any]:
        """Give what the diagnosis reads from the weights' metadata."""
        return {"temperature": self.temperature, "conformal": asdict(self.conformal)}


def calibrate(network: DiagnoserNetwork, known: Sequence[Sample], held_out: Sequence[Sample], seed: int) -> Calibration:
    """Set everything; ``known`` are the cases that the network learned from."""
    temperature, conformal = set_confidence(network, held_out, seed)
    return Calibration(temperature, conformal, fit_guard(network, known, held_out, seed))


def set_confidence(network: DiagnoserNetwork, held_out: Sequence[Sample], seed: int) -> tuple[float, Conformal]:
    """Set temperature and conformal threshold."""
    temperature = fit_temperature(network, held_out, seed)
    batch = Batch.of(spoil(held_out, seed))
    probability = torch.softmax(infer(network, batch)[0] / temperature, dim=1)
    return temperature, Conformal.of(probability, batch.target)


def spoil(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give each lesion mask the faults of a localiser, the same ones each time."""
    generator = torch.Generator().manual_seed(seed + 1)
    return [Sample(s.image, spoil_lesion(s.lesion.float(), generator).half(), s.target) for s in samples]


def fit_temperature(network: DiagnoserNetwork, samples: Sequence[Sample], seed: int) -> float:
    """Find the temperature of least cross-entropy on held-out samples, masks spoiled (Guo et al., ICML 2017)."""
    batch = Batch.of(spoil(samples, seed))
    logits, _ = infer(network, batch)
    candidates = torch.linspace(0.5, 5, 91)
    losses = torch.stack([functional.cross_entropy(logits / t, batch.target) for t in candidates])
    return float(candidates[losses.argmin()])


def fit_guard(
    network: DiagnoserNetwork, known: Sequence[Sample], held_out: Sequence[Sample], seed: int
) -> NoveltyGuard:
    """Fit the novelty guard; lesion masks are spoiled as a localiser's would be."""
    batches = [Batch.of(spoil(samples, seed)) for samples in (known, held_out)]
    known_pair, held_out_pair = ((batch.image, infer(network, batch)[1]) for batch in batches)
    return NoveltyGuard.fit(known_pair, held_out_pair)
