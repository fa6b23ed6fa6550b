"""A training sample is what the diagnosis would see."""

from pathlib import Path

import torch

from vb_node.training.code import code_sha256
from vb_node.training.dataset import make_sample, make_samples
from vb_node.training.tumour import CLASSES


def test_a_sample_holds_its_brain_and_its_lesion() -> None:
    sample = make_sample(21, "PCNSL")

    inside = sample.image[sample.lesion > 0.5]
    assert sample.image.shape == sample.lesion.shape == (1, 80, 96, 80)
    assert sample.target == list(CLASSES).index("PCNSL")
    assert inside.mean() > 1
    assert 1_200 < float((sample.image != 0).sum()) * 8 / 1000 < 2_600


def test_samples_of_other_code_and_of_a_killed_training_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "sample-21.npz").write_bytes(b"made before code was told apart")
    (tmp_path / f"sample-21-{'0' * 12}.npz").write_bytes(b"made by other code")
    (tmp_path / f"sample-21-{code_sha256()[:12]}.part.npz").write_bytes(b"PK half")

    (made,) = make_samples(tmp_path, 1, 21, 1, lambda *_: None)
    (kept,) = make_samples(tmp_path, 1, 21, 1, lambda *_: None)

    assert torch.equal(made.image, kept.image)
    assert torch.equal(made.image, make_sample(21, "Glioma").image)
