"""A training of few samples, for what comes after it."""

from collections.abc import Sequence
from pathlib import Path

from vb_node.training.dataset import Sample
from vb_node.training.diagnoser import BUNDLE, Lesson, learn
from vb_node.training.fit import Course


def taught(folder: Path, samples: Sequence[Sample], classes: tuple[str, ...], course: Course) -> Path:
    """Learn from all samples but two, which calibrate; give the bundle."""
    parts = [(range(2, len(samples)), range(2))]
    lesson = Lesson(samples, parts, classes, "a few cases", "vb-node train", course, data_sha256="ab" * 32)
    learn(lesson, folder, lambda done, total: None)
    return folder / BUNDLE
