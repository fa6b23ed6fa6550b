"""Fit the diagnoser's network to samples: deterministic by seed on one machine and number of threads, and resumable.

A training is known by all that decides its outcome, code and samples among them; what is kept after each epoch under
that name holds the state of every generator, so that a training that was stopped ends in the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vb_node.models.architecture import Architecture
from vb_node.models.device import half_where_fast, is_gpu
from vb_node.models.diagnoser import DiagnoserNetwork, Fusion
from vb_node.models.radiomics import radiomics
from vb_node.models.weights import Weights
from vb_node.training.augment import augment, spoil
from vb_node.training.code import code_sha256
from vb_node.training.curves import Curve, no_curve
from vb_node.training.dataset import Sample
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES

BATCH = 4
LEARNING_RATE = 2e-3
# Smaller steps from finished weights on: few cases must not undo what many taught.
LEARNING_RATE_ON = 5e-4
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.05


@dataclass(frozen=True, eq=False)
class Course:
    """What decides a training, beside its samples.

    ``start`` are weights that it goes on from, with their architecture; else it begins anew with ``architecture``.
    ``device`` is where it is done: on a GPU in mixed precision, and what is learned is ready for a CPU.
    """

    seed: int
    epochs: int
    classes: int = len(CLASSES)
    start: Weights | None = None
    architecture: Architecture = Architecture()
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples stacked: image and lesion (b, 1, 80, 96, 80), targets (b)."""

    image: Tensor
    lesion: Tensor
    target: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Batch":
        image, lesion = torch.stack([s.image for s in samples]), torch.stack([s.lesion for s in samples])
        return cls(image.float(), lesion.float(), torch.tensor([s.target for s in samples]))


class Fitting:
    """One training: network, optimiser, schedule and generators, and the epochs that were done."""

    def __init__(self, samples: Sequence[Sample], course: Course, fusion: Fusion) -> None:
        torch.manual_seed(course.seed)
        self.samples, self.course, self.done = samples, course, 0
        self.generator = torch.Generator().manual_seed(course.seed)
        start = course.start
        self.network = (
            DiagnoserNetwork.of(start, fusion)
            if start
            else DiagnoserNetwork(course.classes, course.architecture, fusion)
        )
        # Channels last takes about half the time of the default on a CPU, for as few channels as these.
        self.network.to(course.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        rate = LEARNING_RATE_ON if start else LEARNING_RATE
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
        steps = course.epochs * math.ceil(len(samples) / BATCH)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, rate, total_steps=steps, pct_start=0.15)

    def epoch(self) -> float:
        """Learn from each sample once; give the mean loss."""
        self.network.train()
        if is_gpu(self.course.device):  # its generator is not kept: a training that is stopped draws as one that is not
            torch.cuda.manual_seed(self.course.seed + self.done)
        order = torch.randperm(len(self.samples), generator=self.generator).tolist()
        total = 0.0
        for start in range(0, len(order), BATCH):
            batch = Batch.of([self.samples[index] for index in order[start : start + BATCH]])
            total += len(batch.target) * self._step(batch)
            self.schedule.step()
        self.done += 1
        return total / len(order)

    def _step(self, batch: Batch) -> float:
        image, lesion = augment(batch.image, batch.lesion, self.generator)
        device = self.course.device
        image = image.to(device).contiguous(memory_format=torch.channels_last_3d)
        with half_where_fast(device):
            logits, _ = self.network(image, lesion.to(device))
        loss = functional.cross_entropy(logits.float(), batch.target.to(device), label_smoothing=LABEL_SMOOTHING)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Keep all that the training needs to go on; ``path`` is whole at any time."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        random = {"generator": self.generator.get_state(), "torch": torch.get_rng_state()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(parts | random | {"done": self.done}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on from what was kept."""
        kept = torch.load(path, weights_only=True, map_location="cpu")
        for name in _PARTS:
            getattr(self, name).load_state_dict(kept[name])
        self.generator.set_state(kept["generator"])
        torch.set_rng_state(kept["torch"])
        self.done = kept["done"]


_PARTS = ("network", "optimiser", "schedule")


def fit(
    samples: Sequence[Sample],
    course: Course,
    fusion: Fusion,
    progress: Progress,
    keep: Path | None = None,
    curve: Curve = no_curve,
) -> DiagnoserNetwork:
    """Train one network; what is kept in the folder ``keep`` lets the same call go on where it was stopped.

    ``curve`` draws loss and learning rate, a point an epoch, under the name of the fusion.
    """
    fitting = Fitting(samples, course, fusion)
    kept = None if keep is None else keep / f"fit-{identity(samples, course, fusion)[:16]}.pt"
    if kept is not None and kept.exists():
        fitting.resume(kept)
    while fitting.done < course.epochs:
        curve(f"{fusion}/loss", fitting.epoch(), fitting.done)
        curve(f"{fusion}/learning rate", float(fitting.schedule.get_last_lr()[0]), fitting.done)
        if kept is not None:
            fitting.save(kept)
        progress(fitting.done, course.epochs)
    progress(course.epochs, course.epochs)
    fitting.network.cpu()
    if fusion == "mca":
        _fit_radiomics(fitting.network, [*samples, *spoil(samples, course.seed)])
    return fitting.network.eval()


def _fit_radiomics(network: DiagnoserNetwork, samples: Sequence[Sample]) -> None:
    """Fit to the lesions that their masks show."""
    shown = [sample for sample in samples if sample.lesion.any()]
    features = [radiomics(sample.image[None], sample.lesion[None]) for sample in shown]
    network.radiomics.fit(torch.cat(features), torch.tensor([sample.target for sample in shown]))


def identity(samples: Sequence[Sample], course: Course, fusion: Fusion) -> str:
    """Name a training by all that decides its outcome."""
    start = course.start.sha256 if course.start else "none"
    own = f"{course.seed} {course.epochs} {fusion} {course.classes} {start} {course.architecture.told()}"
    own += f" {course.device}" if is_gpu(course.device) else ""
    whole = sha256(f"{own} {code_sha256()} {torch.__version__} {torch.get_num_threads()}".encode())
    for sample in samples:
        whole.update(bytes([sample.target]))
        for field in (sample.image, sample.lesion):
            whole.update(field.contiguous().numpy().tobytes())
    return whole.hexdigest()


def infer(network: DiagnoserNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """Give logits (b, classes) and fused vectors (b, n), a few samples at a time."""
    with torch.inference_mode():
        pieces = zip(torch.split(batch.image, BATCH), torch.split(batch.lesion, BATCH), strict=True)
        logits, fused = zip(*(network.answer(image, lesion) for image, lesion in pieces), strict=True)
    return torch.cat(logits), torch.cat(fused)
