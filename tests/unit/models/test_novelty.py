"""The guard knows what it was fitted to, and says so of nothing else."""

import torch

from vb_node.models.novelty import Cloud


def clouds(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator) @ torch.diag(torch.tensor([1.0, 2, 5, 0.1, 1, 1])) + 3


def bounded(count: int) -> Cloud:
    cloud = Cloud.fit(clouds(count, 0))
    return cloud.up_to(cloud.novelty(clouds(count, 1)))


def test_about_one_in_a_hundred_known_inputs_is_called_novel() -> None:
    cloud = bounded(400)

    share = float((cloud.novelty(clouds(2000, 2)) > 1).float().mean())

    assert 0.001 < share < 0.04


def test_distance_counts_in_units_of_each_measures_own_spread() -> None:
    cloud = bounded(400)
    mean = torch.full((1, 6), 3.0)
    wide, narrow = mean.clone(), mean.clone()
    wide[0, 2] += 2
    narrow[0, 3] += 2

    assert cloud.novelty(wide) < 0.5
    assert cloud.novelty(narrow) > 2


def test_a_cloud_read_back_measures_the_same() -> None:
    cloud = bounded(100)

    again = Cloud.of(cloud.tensors("x"), "x")

    assert torch.equal(again.novelty(clouds(5, 3)), cloud.novelty(clouds(5, 3)))
