"""The network detector: its weights are the pinned ones, and it finds a lesion in a generated head."""

import numpy as np
import pytest
import torch
from torch import nn

from vb_node.applications.virtual_biopsy.choice import SYNTHETIC, choose
from vb_node.applications.virtual_biopsy.localizer import Localizer
from vb_node.applications.virtual_biopsy.network import NetworkDetector, NetworkSettings, find_spots, network_input
from vb_node.config import VirtualBiopsySettings
from vb_node.evaluation.benchmarks.small_head import small_head
from vb_node.models.lesion_network import WEIGHTS
from vb_node.models.pins import PRETRAINED
from vb_node.models.weights import open_weights
from vb_node.pipeline.prior import Box, stack_boxes
from vb_node.training.dataset import as_standardised, lay_standard
from vb_node.training.phantom import make_case
from vb_node.types import Mask, StandardVolume

CHOSEN = VirtualBiopsySettings(localizer="network")


class Bright(nn.Module):
    """Answer that what is bright is a lesion."""

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return 4 * (fields[:, :1] - 2)


@pytest.fixture(scope="module")
def phantom() -> tuple[StandardVolume, Mask]:
    """Give a head that no training has seen, with a lymphoma, at the network's 2 mm."""
    case = make_case(7, "PCNSL", "axial", lay=lay_standard, shading=0.25)
    standard, prior = as_standardised(case, np.random.default_rng(7))
    return standard, prior.labels > 0


def test_the_pinned_weights_are_small_and_say_how_they_came_to_be() -> None:
    weights = open_weights(WEIGHTS)

    assert (PRETRAINED / WEIGHTS).stat().st_size <= 10_000_000
    assert weights.metadata["command"].startswith("vb-node train localizer ")
    assert "generated" in weights.metadata["trained_on"]


def test_a_lesion_in_a_generated_head_is_in_the_best_boxes(phantom: tuple[StandardVolume, Mask]) -> None:
    standard, lesion = phantom

    boxes = NetworkDetector.load().detect(standard)

    best = max(box.score for box in boxes)
    hit = stack_boxes(lesion.shape, [box for box in boxes if box.score >= best]) > 0
    assert best >= NetworkDetector.claim_score
    assert (hit & lesion).sum() >= 0.5 * lesion.sum()


def test_boxes_lie_where_the_map_does_on_a_grid_of_1_mm() -> None:
    head = small_head(2, has_lesion=False)
    bright = np.zeros(head.lesion.shape, dtype=np.bool_)
    bright[30:38, 40:48, 20:32] = True
    head.standard.voxels[...] = np.where(bright, 5, 0)

    boxes = NetworkDetector(Bright()).detect(head.standard)

    best = max(box.score for box in boxes)
    boxed = stack_boxes(bright.shape, [box for box in boxes if box.score == best]) > 0
    assert (boxed & bright).sum() >= 0.8 * bright.sum()
    assert boxed.sum() <= 1.5 * bright.sum()


def test_the_second_field_is_the_mirror_image() -> None:
    head = small_head(2)
    whole = (slice(0, 72), slice(0, 72), slice(0, 72))

    fields = network_input(head.standard, whole, 2)

    np.testing.assert_allclose(fields[1], fields[0][:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(fields[2], fields[2][:, :, ::-1], atol=1e-6)


def test_a_lower_level_adds_only_what_is_new() -> None:
    probability = np.zeros((20, 20, 20), dtype=np.float32)
    probability[2:10, 2:10, 2:10] = 0.3
    probability[4:8, 4:8, 4:8] = 0.9
    probability[14:18, 14:18, 14:18] = 0.25

    spots = find_spots(probability, NetworkSettings())

    assert [int(spot.mask.sum()) for spot in spots] == [64, 64]
    assert spots[0].score == pytest.approx(0.9)
    assert spots[1].score == pytest.approx(0.25)


def test_the_same_head_gives_the_same_boxes(phantom: tuple[StandardVolume, Mask]) -> None:
    detector = NetworkDetector.load()

    first, second = (detector.detect(phantom[0]) for _ in range(2))

    assert first == second
    assert all(isinstance(box, Box) and box.area > 0 for box in first)


def test_the_configured_network_runs_and_stays_loaded() -> None:
    localizer, head = Localizer(), small_head(3)

    prior, said = localizer.localise(head.standard, CHOSEN, "cpu", lambda share: None)

    assert choose(CHOSEN) == "network"
    assert said == {}
    assert SYNTHETIC in prior.notes
    assert prior.probability.shape == head.lesion.shape
    assert localizer._network("cpu") is localizer._network("auto")
