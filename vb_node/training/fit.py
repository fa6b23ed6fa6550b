"""Train Adaptive-Diagnoser on generated phantoms, measure it against its GAP-only baseline, and pin the weights.

Deterministic by seed on one machine and number of threads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vb_node.models.diagnoser import NETWORK_MM, NETWORK_SHAPE, WEIGHTS, DiagnoserNetwork, Fusion
from vb_node.models.novelty import NoveltyGuard
from vb_node.models.pins import Pin
from vb_node.models.weights import write_pin, write_weights
from vb_node.training.augment import augment, spoil_lesion
from vb_node.training.dataset import Sample, make_samples
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES

BATCH = 4
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.05
# One case in five is held out: it sets the temperature and the novelty threshold, and measures accuracy.
HELD_OUT = 0.2
# Each training has seeds of its own; the demo's and the tests' are small numbers.
SEEDS_PER_TRAINING = 1_000_000


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


def train_diagnoser(out: Path, cases: int, seed: int, epochs: int, progress: Progress) -> dict[str, float]:
    """Train on ``cases`` phantoms, write ``diagnoser.safetensors`` and its pin into ``out``; give the figures.

    ``out / "samples"`` keeps the generated phantoms, so a second training with the same seed does not make them again.
    """
    held = round(cases * HELD_OUT)
    total = cases + 2 * epochs
    samples = make_samples(out / "samples", cases, seed * SEEDS_PER_TRAINING, 2, lambda done, _: progress(done, total))
    known, held_out = samples[held:], samples[:held]
    network = fit(known, seed, epochs, "mca", lambda done, _: progress(cases + done, total))
    baseline = fit(known, seed, epochs, "gap", lambda done, _: progress(cases + epochs + done, total))
    figures = measure(network, held_out, seed) | {"accuracy_gap_only": accuracy(baseline, Batch.of(held_out))}
    figures["temperature"] = fit_temperature(network, held_out, seed)
    guard = fit_guard(network, known, held_out, seed)
    command = f"vb-node train diagnoser --cases {cases} --seed {seed} --epochs {epochs}"
    _write(out, network, guard, figures, Pin("", command, seed, figures))
    return figures


def fit(samples: Sequence[Sample], seed: int, epochs: int, fusion: Fusion, progress: Progress) -> DiagnoserNetwork:
    """Train one network."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    # Channels last takes about half the time of the default on a CPU, for as few channels as these.
    network = DiagnoserNetwork(len(CLASSES), fusion=fusion)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(samples) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(samples), generator=generator).tolist()
        for start in range(0, len(order), BATCH):
            batch = Batch.of([samples[index] for index in order[start : start + BATCH]])
            _step(network, optimiser, batch, generator)
            schedule.step()
        progress(epoch + 1, epochs)
    network.eval()
    return network


def _step(
    network: DiagnoserNetwork, optimiser: torch.optim.Optimizer, batch: Batch, generator: torch.Generator
) -> None:
    image, lesion = augment(batch.image, batch.lesion, generator)
    logits, _ = network(image.to(memory_format=torch.channels_last_3d), lesion)
    loss = functional.cross_entropy(logits, batch.target, label_smoothing=LABEL_SMOOTHING)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def measure(network: DiagnoserNetwork, samples: Sequence[Sample], seed: int) -> dict[str, float]:
    """Measure accuracy with the true mask, a spoiled one and one of another case, and recall of each class."""
    batch, spoiled = Batch.of(samples), Batch.of(spoil(samples, seed))
    elsewhere = Batch(batch.image, batch.lesion.roll(1, dims=0), batch.target)
    guess = infer(network, batch)[0].argmax(dim=1)
    recall = {
        f"recall_{name.lower()}": float((guess[batch.target == index] == index).float().mean())
        for index, name in enumerate(CLASSES)
    }
    return {
        "held_out_cases": float(len(samples)),
        "accuracy_true_mask": accuracy(network, batch),
        "accuracy_spoiled_mask": accuracy(network, spoiled),
        "accuracy_mask_of_another_case": accuracy(network, elsewhere),
        **recall,
    }


def spoil(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give each lesion mask the faults of a localiser, the same ones each time."""
    generator = torch.Generator().manual_seed(seed + 1)
    return [Sample(s.image, spoil_lesion(s.lesion.float(), generator).half(), s.target) for s in samples]


def accuracy(network: DiagnoserNetwork, batch: Batch) -> float:
    """Give the share of right classes."""
    return float((infer(network, batch)[0].argmax(dim=1) == batch.target).float().mean())


def infer(network: DiagnoserNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """Give logits (b, classes) and fused vectors (b, n), a few samples at a time."""
    with torch.inference_mode():
        pieces = zip(torch.split(batch.image, BATCH), torch.split(batch.lesion, BATCH), strict=True)
        logits, fused = zip(*(network(image, lesion) for image, lesion in pieces), strict=True)
    return torch.cat(logits), torch.cat(fused)


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


def _write(out: Path, network: DiagnoserNetwork, guard: NoveltyGuard, figures: dict[str, float], pin: Pin) -> None:
    """Write weights and pin; what the diagnosis needs to know travels in the file's metadata."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()} | guard.tensors()
    metadata = {
        "classes": list(CLASSES),
        "grid_shape": list(NETWORK_SHAPE),
        "grid_mm": NETWORK_MM,
        "temperature": figures["temperature"],
        "trained_on": "generated phantoms only; nothing clinical can be claimed",
        "command": pin.command,
        "seed": pin.seed,
        "figures": figures,
    }
    digest = write_weights(out / WEIGHTS, tensors, metadata)
    write_pin(out / WEIGHTS, Pin(digest, pin.command, pin.seed, figures))
