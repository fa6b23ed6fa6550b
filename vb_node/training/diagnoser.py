"""Train Adaptive-Diagnoser: on generated phantoms or on a site's own cases, calibrate it, and write it as a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vb_node.models.bundle import Story, write_bundle
from vb_node.models.diagnoser import NETWORK_MM, NETWORK_SHAPE, PREFIX, WEIGHTS, DiagnoserNetwork, Fusion
from vb_node.models.novelty import NoveltyGuard
from vb_node.models.pins import Pin
from vb_node.models.weights import learned_from, write_pin, write_weights
from vb_node.training.augment import as_found, spoil
from vb_node.training.calibrate import Calibration, Unseen, calibrate, fit_guard, look, refit_guard
from vb_node.training.curves import Curve, no_curve
from vb_node.training.dataset import Sample, make_samples
from vb_node.training.fit import Batch, Course, fit, infer
from vb_node.training.phantom import Progress
from vb_node.training.tumour import CLASSES

# One case in five is held out: it sets the temperature and the novelty threshold, and measures accuracy.
HELD_OUT = 0.2
# Each training has seeds of its own; the demo's and the tests' are small numbers.
SEEDS_PER_TRAINING = 1_000_000
BUNDLE = "bundle"
# The network without mask that a training on phantoms measures beside its own; an evaluation's may go on from it.
BASELINE = "baseline.safetensors"
PHANTOMS_ONLY = "generated phantoms only; nothing clinical can be claimed"


@dataclass(frozen=True)
class Lesson:
    """What is learned from and how: samples, what they are called, the classes, and the command that does it again.

    Each of ``parts`` names samples to learn from and samples to hold out. Of one part's network the weights are kept;
    of several, which hold out each sample once, a further one's that learns from all. ``is_synthetic`` says that no
    patient's case was ever learned from; ``data_sha256`` is None without a data set.
    """

    samples: Sequence[Sample]
    parts: Sequence[tuple[Sequence[int], Sequence[int]]]
    classes: tuple[str, ...]
    trained_on: str
    command: str
    course: Course
    is_synthetic: bool = False
    data_sha256: str | None = None

    @property
    def trainings(self) -> int:
        """How many networks are trained: with one part a baseline too."""
        return len(self.parts) + 1

    def take(self, index: Sequence[int]) -> list[Sample]:
        """Give some of the samples."""
        return [self.samples[one] for one in index]

    def as_seen(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Give samples with masks as a node has them."""
        return as_found(samples, self.course.seed)

    def guard(self, network: DiagnoserNetwork, known: Sequence[Sample]) -> NoveltyGuard:
        """Fit a guard to what was learned from; how heads look, more phantoms have told the start of phantoms."""
        start = self.course.start
        if start is not None and self.is_synthetic:
            return refit_guard(NoveltyGuard.of(start.tensors), network, self.as_seen(known))
        return fit_guard(network, self.as_seen(known))


def train_diagnoser(
    out: Path, cases: int, course: Course, progress: Progress, curve: Curve = no_curve
) -> dict[str, float]:
    """Train on ``cases`` phantoms; give the figures.

    ``out / "samples"`` keeps the phantoms: a second training with the same seed and code does not make them again.
    """
    total, first = cases + 2 * course.epochs, course.seed * SEEDS_PER_TRAINING
    samples = make_samples(out / "samples", cases, first, 2, lambda done, _: progress(done, total))
    held = round(cases * HELD_OUT)
    command = f"vb-node train diagnoser --cases {cases} --seed {course.seed} --epochs {course.epochs}"
    command += course.architecture.words
    parts = [(range(held, cases), range(held))]
    lesson = Lesson(samples, parts, tuple(CLASSES), PHANTOMS_ONLY, command, course, is_synthetic=True)
    return learn(lesson, out, lambda done, _: progress(cases + done, total), curve)


def learn(lesson: Lesson, out: Path, progress: Progress, curve: Curve = no_curve) -> dict[str, float]:
    """Train, calibrate, measure and write ``diagnoser.safetensors`` with its pin, and the bundle; give the figures."""
    course, keep = lesson.course, out / "kept"
    total = lesson.trainings * course.epochs

    def train(number: int, samples: Sequence[Sample], fusion: Fusion, curve: Curve) -> DiagnoserNetwork:
        before = number * course.epochs
        return fit(samples, course, fusion, lambda done, _: progress(before + done, total), keep, curve)

    pairs = [(lesson.take(known), lesson.take(held_out)) for known, held_out in lesson.parts]
    is_one = len(pairs) == 1
    networks = [train(number, known, "mca", curve if is_one else no_curve) for number, (known, _) in enumerate(pairs)]
    unseen = Unseen.joined(
        [
            look(network, lesson.guard(network, known), lesson.as_seen(held_out))
            for network, (known, held_out) in zip(networks, pairs, strict=True)
        ]
    )
    figures = measure(networks, [held_out for _, held_out in pairs], lesson)
    if is_one:
        network, known = networks[0], pairs[0][0]
        baseline = train(1, known, "gap", curve)
        figures["accuracy_gap_only"] = accuracy([baseline], [pairs[0][1]])
        _write_baseline(out, baseline, figures, lesson)
    else:
        known = list(lesson.samples)
        network = train(len(pairs), known, "mca", curve)
    calibration = calibrate(lesson.guard(network, known), unseen)
    figures["temperature"] = calibration.temperature
    _write(out, network, calibration, figures, lesson)
    return figures


def measure(
    networks: Sequence[DiagnoserNetwork], held_out: Sequence[Sequence[Sample]], lesson: Lesson
) -> dict[str, float]:
    """Measure each network on what it has not seen: accuracy with three kinds of mask, and recall of each class."""
    is_found = any(sample.is_found for sample in lesson.samples)
    own = "accuracy_localizers_mask" if is_found else "accuracy_true_mask"
    guess, target = guesses(networks, held_out)
    recall = {
        f"recall_{name.lower()}": float((guess[target == index] == index).float().mean())
        for index, name in enumerate(lesson.classes)
        if bool((target == index).any())
    }
    return {
        "held_out_cases": float(len(target)),
        own: float((guess == target).float().mean()),
        "accuracy_spoiled_mask": accuracy(networks, [spoil(samples, lesson.course.seed) for samples in held_out]),
        "accuracy_mask_of_another_case": accuracy(networks, [_elsewhere(samples) for samples in held_out]),
        **recall,
    }


def guesses(networks: Sequence[DiagnoserNetwork], held_out: Sequence[Sequence[Sample]]) -> tuple[Tensor, Tensor]:
    """Give the most probable classes and the true ones, each network's samples in order."""
    batches = [Batch.of(samples) for samples in held_out]
    found = [infer(network, batch)[0].argmax(dim=1) for network, batch in zip(networks, batches, strict=True)]
    return torch.cat(found), torch.cat([batch.target for batch in batches])


def accuracy(networks: Sequence[DiagnoserNetwork], held_out: Sequence[Sequence[Sample]]) -> float:
    """Give the share of right classes."""
    guess, target = guesses(networks, held_out)
    return float((guess == target).float().mean())


def _elsewhere(samples: Sequence[Sample]) -> list[Sample]:
    """Give each sample the mask of the one before."""
    others = [samples[-1], *samples[:-1]]
    return [Sample(one.image, other.lesion, one.target) for one, other in zip(samples, others, strict=True)]


def _write(
    out: Path, network: DiagnoserNetwork, calibration: Calibration, figures: dict[str, float], lesson: Lesson
) -> None:
    """Write weights, pin and bundle; what the diagnosis needs to know travels in the file's metadata."""
    told = network.architecture.told() | calibration.told() | _metadata(figures, lesson)
    digest = write_weights(out / WEIGHTS, _tensors(network) | calibration.guard.tensors(), told)
    pin = Pin(digest, lesson.command, lesson.course.seed, figures, lesson.is_synthetic)
    write_pin(out / WEIGHTS, pin)
    choice = {"_target_": "vb_node.models.architecture.Architecture"} | network.architecture.told()
    target = {"_target_": "vb_node.models.diagnoser.DiagnoserNetwork", "classes": len(lesson.classes)}
    story = Story(
        network="diagnoser",
        module="Adaptive-Diagnoser",
        task="Class of a localised intracranial tumour on T1-weighted MR after contrast agent",
        about=[f"Classes: {', '.join(lesson.classes)}"],
        inference={"network_def": target | {"architecture": choice}, "weights_prefix": PREFIX},
        data_format=_data_format(lesson.classes),
        trained_on=lesson.trained_on,
        command=lesson.command,
        figures=figures,
        sha256=digest,
    )
    write_bundle(out / BUNDLE, out / WEIGHTS, story)


def _data_format(classes: Sequence[str]) -> dict[str, Any]:
    """Say what goes in and comes out, in the words of MONAI's specification."""
    tensor = {"modality": "MR", "dtype": "float32", "is_patch_data": False}
    field = tensor | {"type": "image", "num_channels": 1, "spatial_shape": list(NETWORK_SHAPE)}
    image = field | {"format": "magnitude", "value_range": [-5, 5], "channel_def": {"0": "z-scored brain, 2 mm"}}
    lesion = field | {"format": "segmentation", "value_range": [0, 1], "channel_def": {"0": "share that is lesion"}}
    channels = {str(index): name for index, name in enumerate(classes)}
    logits = {"type": "probabilities", "format": "classes", "num_channels": len(classes), "spatial_shape": []}
    outputs = {"logits": tensor | logits | {"value_range": [], "channel_def": channels}}
    return {"inputs": {"image": image, "lesion": lesion}, "outputs": outputs}


def _write_baseline(out: Path, network: DiagnoserNetwork, figures: dict[str, float], lesson: Lesson) -> None:
    """Write the network without mask, which no diagnosis opens: it has neither temperature nor guard."""
    told = network.architecture.told() | {"fusion": network.fusion} | _metadata(figures, lesson)
    digest = write_weights(out / BASELINE, _tensors(network), told)
    write_pin(out / BASELINE, Pin(digest, lesson.command, lesson.course.seed, figures, lesson.is_synthetic))


def _tensors(network: DiagnoserNetwork) -> dict[str, Tensor]:
    return {f"{PREFIX}{name}": tensor for name, tensor in network.state_dict().items()}


def _metadata(figures: dict[str, float], lesson: Lesson) -> dict[str, Any]:
    return {
        "classes": list(lesson.classes),
        "grid_shape": list(NETWORK_SHAPE),
        "grid_mm": NETWORK_MM,
        "trained_on": lesson.trained_on,
        "is_trained_on_synthetic_data": lesson.is_synthetic,
        "data_sha256": lesson.data_sha256,
        "learned_from": [*learned_from(lesson.course.start), *filter(None, [lesson.data_sha256])],
        "started_from_sha256": lesson.course.start.sha256 if lesson.course.start else None,
        "command": lesson.command,
        "seed": lesson.course.seed,
        "figures": figures,
    }
