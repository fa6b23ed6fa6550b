"""Train Adaptive-Diagnoser: on generated phantoms or on a site's own cases, calibrate it, and write it as a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vb_node.models.bundle import Story, write_bundle
from vb_node.models.diagnoser import NETWORK_MM, NETWORK_SHAPE, PREFIX, WEIGHTS, DiagnoserNetwork
from vb_node.models.pins import Pin
from vb_node.models.weights import write_pin, write_weights
from vb_node.training.calibrate import Calibration, calibrate, spoil
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
PHANTOMS_ONLY = "generated phantoms only; nothing clinical can be claimed"


@dataclass(frozen=True)
class Lesson:
    """What is learned from and how: samples, what they are called, the classes, and the command that does it again.

    ``is_synthetic`` says that no patient's case was ever learned from; ``data_sha256`` is None without a data set.
    """

    known: Sequence[Sample]
    held_out: Sequence[Sample]
    classes: tuple[str, ...]
    trained_on: str
    is_synthetic: bool
    data_sha256: str | None
    command: str
    course: Course


def train_diagnoser(
    out: Path, cases: int, seed: int, epochs: int, progress: Progress, curve: Curve = no_curve
) -> dict[str, float]:
    """Train on ``cases`` phantoms; give the figures.

    ``out / "samples"`` keeps the generated phantoms, so a second training with the same seed does not make them again.
    """
    total = cases + 2 * epochs
    samples = make_samples(out / "samples", cases, seed * SEEDS_PER_TRAINING, 2, lambda done, _: progress(done, total))
    held = round(cases * HELD_OUT)
    command = f"vb-node train diagnoser --cases {cases} --seed {seed} --epochs {epochs}"
    course = Course(seed, epochs)
    lesson = Lesson(samples[held:], samples[:held], tuple(CLASSES), PHANTOMS_ONLY, True, None, command, course)
    return learn(lesson, out, lambda done, _: progress(cases + done, total), curve)


def learn(lesson: Lesson, out: Path, progress: Progress, curve: Curve = no_curve) -> dict[str, float]:
    """Train, calibrate, measure and write ``diagnoser.safetensors`` with its pin, and the bundle; give the figures."""
    course, keep, known, held_out = lesson.course, out / "kept", lesson.known, lesson.held_out
    epochs, total, seed = course.epochs, 2 * course.epochs, course.seed
    network = fit(known, course, "mca", lambda done, _: progress(done, total), keep, curve)
    baseline = fit(known, course, "gap", lambda done, _: progress(epochs + done, total), keep, curve)
    figures = measure(network, held_out, seed, lesson.classes)
    figures["accuracy_gap_only"] = accuracy(baseline, Batch.of(held_out))
    calibration = calibrate(network, known, held_out, seed)
    figures["temperature"] = calibration.temperature
    _write(out, network, calibration, figures, lesson)
    return figures


def measure(
    network: DiagnoserNetwork, samples: Sequence[Sample], seed: int, classes: Sequence[str]
) -> dict[str, float]:
    """Measure accuracy with the true mask, a spoiled one and one of another case, and recall of each class."""
    batch, spoiled = Batch.of(samples), Batch.of(spoil(samples, seed))
    elsewhere = Batch(batch.image, batch.lesion.roll(1, dims=0), batch.target)
    guess = infer(network, batch)[0].argmax(dim=1)
    recall = {
        f"recall_{name.lower()}": float((guess[batch.target == index] == index).float().mean())
        for index, name in enumerate(classes)
        if bool((batch.target == index).any())
    }
    return {
        "held_out_cases": float(len(samples)),
        "accuracy_true_mask": accuracy(network, batch),
        "accuracy_spoiled_mask": accuracy(network, spoiled),
        "accuracy_mask_of_another_case": accuracy(network, elsewhere),
        **recall,
    }


def accuracy(network: DiagnoserNetwork, batch: Batch) -> float:
    """Give the share of right classes."""
    return float((infer(network, batch)[0].argmax(dim=1) == batch.target).float().mean())


def _write(
    out: Path, network: DiagnoserNetwork, calibration: Calibration, figures: dict[str, float], lesson: Lesson
) -> None:
    """Write weights, pin and bundle; what the diagnosis needs to know travels in the file's metadata."""
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in network.state_dict().items()}
    digest = write_weights(
        out / WEIGHTS, tensors | calibration.guard.tensors(), _metadata(calibration, figures, lesson)
    )
    pin = Pin(digest, lesson.command, lesson.course.seed, figures, lesson.is_synthetic)
    write_pin(out / WEIGHTS, pin)
    write_bundle(out / BUNDLE, out / WEIGHTS, Story(lesson.classes, lesson.trained_on, lesson.command, figures, digest))


def _metadata(calibration: Calibration, figures: dict[str, float], lesson: Lesson) -> dict[str, Any]:
    return calibration.told() | {
        "classes": list(lesson.classes),
        "grid_shape": list(NETWORK_SHAPE),
        "grid_mm": NETWORK_MM,
        "trained_on": lesson.trained_on,
        "is_trained_on_synthetic_data": lesson.is_synthetic,
        "data_sha256": lesson.data_sha256,
        "started_from_sha256": lesson.course.start.sha256 if lesson.course.start else None,
        "command": lesson.command,
        "seed": lesson.course.seed,
        "figures": figures,
    }
