"""Adaptive-Diagnoser: class probabilities of a localised tumour, or the reason why they may not be read as a class.

The shipped weights have seen generated phantoms only. A patient's brain is unlike those: it is "not determined".
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vb_node.models.conformal import Conformal
from vb_node.models.device import asking, lay, settle
from vb_node.models.diagnoser import NETWORK_SHAPE, WEIGHTS, DiagnoserNetwork, network_grid, network_input
from vb_node.models.novelty import NoveltyGuard
from vb_node.models.pins import MODEL, MODELS
from vb_node.models.saliency import class_map
from vb_node.models.weights import Weights, open_weights
from vb_node.types import Diagnosis, Prior, StandardVolume, Volume

# The least probability at which one of four classes stands out.
LEAST_PROBABILITY = 0.5


@dataclass(frozen=True, eq=False)
class Diagnoser:
    """The network with its temperature, its guard and the names of its classes, kept on one device."""

    network: DiagnoserNetwork
    guard: NoveltyGuard
    classes: tuple[str, ...]
    temperature: float
    conformal: Conformal
    sha256: str
    device: str

    @classmethod
    def load(cls, device: str = "cpu", folder: Path | None = None) -> Self:
        """Open the pinned weights that are shipped, or those of an imported bundle.

        Raises
        ------
        ConfigError
            The weights are not the pinned ones.
        """
        opened = open_weights(WEIGHTS) if folder is None else open_weights(MODEL, folder / MODELS)
        return cls.of(opened, device)

    @classmethod
    def of(cls, weights: Weights, device: str = "cpu") -> Self:
        """Build the network from opened weights."""
        classes = tuple(weights.metadata["classes"])
        network = DiagnoserNetwork.of(weights)
        temperature = float(weights.metadata["temperature"])
        guard, conformal = NoveltyGuard.of(weights.tensors), Conformal(**weights.metadata["conformal"])
        return cls(settle(network, device), guard, classes, temperature, conformal, weights.sha256, device)

    def rehearse(self) -> None:
        """Run once on an empty head; raise ``ValueError`` where what comes out cannot be read."""
        image = torch.zeros(1, 1, *NETWORK_SHAPE)
        logits, fused = self._ask(image, image)
        novelty = self.guard.novelty(image, fused)
        if logits.shape != (1, len(self.classes)) or novelty.shape != (1,) or not 0.01 <= self.temperature <= 100:
            raise ValueError("one logit a class, one novelty and a temperature expected")

    def diagnose(self, standard: StandardVolume, prior: Prior) -> Diagnosis:
        """Give the probabilities of all classes when something was localised."""
        if prior.state != "localised":
            return Diagnosis({}, False, f"no tumour to classify: localisation ended '{prior.state}'")
        image, lesion = network_input(standard, prior)
        logits, fused = self._ask(image, lesion)
        # (1, classes) -> (classes)
        probability = torch.softmax(logits / self.temperature, dim=1)[0]
        novelty = float(self.guard.novelty(image, fused)[0])
        diagnosis = self._read(dict(zip(self.classes, probability.double().tolist(), strict=True)), novelty)
        if not diagnosis.is_determined:
            return diagnosis
        best = int(probability.argmax())
        counted = class_map(self.network, lay(image, self.device), lay(lesion, self.device), best)
        return replace(diagnosis, saliency=Volume(counted, network_grid(standard)))

    def _ask(self, image: Tensor, lesion: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits (1, classes) and fused vector (1, n), in main memory."""
        with asking(self.device):
            logits, fused = self.network.answer(lay(image, self.device), lay(lesion, self.device))
            return logits.float().cpu(), fused.float().cpu()

    def _read(self, probabilities: dict[str, float], novelty: float) -> Diagnosis:
        """Decide whether a class may be read."""
        if not novelty <= 1:
            reason = "the image is unlike the data that the classifier was trained on"
            return Diagnosis(probabilities, False, reason, novelty)
        best, share = max(probabilities.items(), key=lambda item: item[1])
        if share < LEAST_PROBABILITY:
            return Diagnosis(probabilities, False, f"no class reaches {LEAST_PROBABILITY:.0%}", novelty)
        likely = self.conformal.choose(probabilities)
        if best not in likely:
            reason = f"no class is as probable as the true one is in {self.conformal.coverage:.0%} of held-out cases"
            return Diagnosis(probabilities, False, reason, novelty)
        reason = f"most probable class: {best}"
        return Diagnosis(probabilities, True, reason, novelty, likely, self.conformal.coverage)
