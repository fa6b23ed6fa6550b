import numpy as np
import torch

from vb_node.models.voxel_mlp import MlpSettings, VoxelMLP, fit_voxel_mlp
from vb_node.types import Floats, Mask


def two_clouds(seed: int, count: int = 1200) -> tuple[Floats, Mask]:
    rng = np.random.default_rng(seed)
    is_tumour = rng.random(count) < 0.25
    features = rng.standard_normal((count, 9)).astype(np.float32)
    features[is_tumour, :3] += 2.5
    return features, is_tumour


def test_the_network_is_9_32_16_1() -> None:
    sizes = [tuple(p.shape) for p in VoxelMLP().parameters()]

    assert sizes == [(32, 9), (32,), (16, 32), (16,), (1, 16), (1,)]


def test_it_tells_two_clouds_apart_that_it_has_not_seen() -> None:
    model = fit_voxel_mlp(*two_clouds(0), MlpSettings())
    features, is_tumour = two_clouds(1)

    right = (model.probability(features) > 0.5) == is_tumour

    assert right.mean() > 0.95


def test_the_same_input_gives_the_same_network_and_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (fit_voxel_mlp(*two_clouds(0), MlpSettings(epochs=20)) for _ in range(2))
    features, _ = two_clouds(2)

    np.testing.assert_array_equal(first.probability(features), second.probability(features))
    assert torch.equal(before, torch.random.get_rng_state())


def test_labels_that_are_wrong_for_half_the_tumour_voxels_are_borne() -> None:
    features, is_tumour = two_clouds(3, count=4000)
    background = np.flatnonzero(~is_tumour)
    pseudo_labels = is_tumour.copy()
    pseudo_labels[background[: is_tumour.sum()]] = True

    q = fit_voxel_mlp(features, pseudo_labels, MlpSettings()).probability(features)

    assert q[is_tumour].mean() > 0.75
    assert q[~is_tumour].mean() < 0.45


def test_one_odd_voxel_is_clamped() -> None:
    model = fit_voxel_mlp(*two_clouds(0), MlpSettings(epochs=20))
    odd = np.full((1, 9), 1e20, dtype=np.float32)

    assert np.isfinite(model.probability(odd)).all()
