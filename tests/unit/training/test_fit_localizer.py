"""The localizer's training: it learns, goes on where it was stopped, and its weights fit the network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vb_node.models.lesion_network import WEIGHTS, build
from vb_node.models.weights import open_weights
from vb_node.training.fit_localizer import CHECKPOINT, Training, train_localizer
from vb_node.training.healthy_head import HealthyHead


@pytest.fixture(scope="module")
def grey_head() -> HealthyHead:
    rng = np.random.default_rng(1)
    voxels = 0.1 * rng.standard_normal((64, 72, 64), dtype=np.float32)
    affine = np.array([[0, 0, 2, -63], [0, 2, 0, -71], [2, 0, 0, -63], [0, 0, 0, 1.0]])
    return HealthyHead(voxels, np.full(voxels.shape, -20, dtype=np.float32), affine, fluid=-2.5, white=0.5)


def test_a_few_steps_lower_the_loss(grey_head: HealthyHead) -> None:
    training = Training(seed=1)

    losses = [training.step([grey_head]) for _ in range(8)]

    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(grey_head: HealthyHead, tmp_path: Path) -> None:
    whole, first = Training(seed=2), Training(seed=2)
    for training in (whole, first):
        training.step([grey_head])
    first.save(tmp_path / CHECKPOINT)
    second = Training(seed=2)
    second.resume(tmp_path / CHECKPOINT)
    for training in (whole, second):
        training.step([grey_head])

    pairs = zip(whole.averaged().state_dict().values(), second.averaged().state_dict().values(), strict=True)

    assert second.steps == 2
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.timeout(300)
def test_the_training_command_writes_pinned_weights_that_fit_the_network(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    figures = train_localizer(tmp_path, 2, 3, 1, lambda done, total: heard.append((done, total)), 10)

    weights = open_weights(WEIGHTS, tmp_path)
    network = build()
    network.load_state_dict(weights.tensors)
    assert heard[-1] == (3, 3)
    assert weights.metadata["command"] == "vb-node train localizer --heads 2 --seed 3 --steps 1"
    assert figures["held_out_crops"] == weights.metadata["figures"]["held_out_crops"] == 10
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())
