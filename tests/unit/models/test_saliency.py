"""What counted for a class: the values sum up to the logit, and nothing lights up that the classifier never read."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vb_node.models.diagnoser import NETWORK_SHAPE, DiagnoserNetwork
from vb_node.models.saliency import class_map, contributions

CLASSES, CELL = 4, 4  # a cell of the finer map is four of the input
LESION = (slice(32, 48), slice(40, 56), slice(24, 40))


def _network(seed: int = 0, fusion: str = "mca") -> DiagnoserNetwork:
    torch.manual_seed(seed)
    return DiagnoserNetwork(CLASSES, fusion=fusion).eval()  # type: ignore[arg-type]


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    image = torch.randn(1, 1, *NETWORK_SHAPE, generator=torch.Generator().manual_seed(1))
    lesion = torch.zeros(1, 1, *NETWORK_SHAPE)
    lesion[0, 0][LESION] = 1
    return image, lesion


def _silence(*weights: Tensor) -> None:
    with torch.no_grad():
        for weight in weights:
            weight.zero_()


def test_where_the_classifier_is_linear_the_values_sum_up_to_the_logit_less_its_bias(
    inputs: tuple[Tensor, Tensor],
) -> None:
    network = _network(fusion="gap")
    _silence(network.head_coarse.weight, network.head_coarse.bias)

    with torch.no_grad():
        logits, _ = network.answer(*inputs)
        expected = (logits[0] - network.head_fine.bias).tolist()
    totals = [float(contributions(network, *inputs, number).sum()) for number in range(CLASSES)]
    assert totals == pytest.approx(expected, abs=1e-5)


def test_a_classifier_that_reads_the_lesion_alone_lights_up_nothing_else(inputs: tuple[Tensor, Tensor]) -> None:
    network = _network()
    channels = network.head_fine.in_features // 2
    _silence(network.head_coarse.weight, network.head_fine.weight[:, :channels])

    values = contributions(network, *inputs, 0)

    inside = torch.zeros_like(values, dtype=torch.bool)
    inside[tuple(slice(one.start // CELL, one.stop // CELL) for one in LESION)] = True
    assert values[~inside].abs().max() == 0
    assert values[inside].abs().max() > 0


def test_a_map_is_0_to_1_on_the_grid_of_the_input_and_the_same_each_time(inputs: tuple[Tensor, Tensor]) -> None:
    network = _network()

    first, second = (class_map(network, *inputs, 2) for _ in range(2))

    assert first.shape == NETWORK_SHAPE
    assert (first.min(), first.max()) == (pytest.approx(0), pytest.approx(1))
    assert np.array_equal(first, second)


def test_a_network_that_has_learned_something_else_gives_another_map(inputs: tuple[Tensor, Tensor]) -> None:
    maps = [class_map(_network(seed), *inputs, 0).ravel() for seed in (0, 1)]

    assert np.corrcoef(maps)[0, 1] < 0.7


def test_nothing_that_counted_is_a_map_of_zeros(inputs: tuple[Tensor, Tensor]) -> None:
    network = _network()
    _silence(network.head_fine.weight, network.head_coarse.weight)

    assert class_map(network, *inputs, 0).max() == 0
