"""A training sample is what the diagnosis would see."""

from vb_node.training.dataset import make_sample
from vb_node.training.tumour import CLASSES


def test_a_sample_holds_its_brain_and_its_lesion() -> None:
    sample = make_sample(21, "PCNSL")

    inside = sample.image[sample.lesion > 0.5]
    assert sample.image.shape == sample.lesion.shape == (1, 80, 96, 80)
    assert sample.target == list(CLASSES).index("PCNSL")
    assert inside.mean() > 1
    assert 1_200 < float((sample.image != 0).sum()) * 8 / 1000 < 2_600
