"""The backbones that the diagnoser may stand on: where their feature maps stand, and that all of each learns."""

from typing import get_args

import pytest
import torch

from vb_node.models.architecture import Architecture
from vb_node.models.backbones import Backbone, build
from vb_node.models.diagnoser import NETWORK_SHAPE, DiagnoserNetwork
from vb_node.models.weights import Weights

BACKBONES = get_args(Backbone)
FINE, COARSE = tuple(n // 4 for n in NETWORK_SHAPE), tuple(n // 8 for n in NETWORK_SHAPE)


def a_lesion() -> torch.Tensor:
    lesion = torch.zeros(1, 1, *NETWORK_SHAPE)
    lesion[..., 20:30, 20:30, 20:30] = 1
    return lesion


def an_image() -> torch.Tensor:
    return torch.randn(1, 1, *NETWORK_SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_stages_end_at_strides_4_and_8_with_the_channels_that_are_told(name: str) -> None:
    stem, fine, coarse, channels = build(name)

    with torch.inference_mode():
        first = fine(stem(an_image()))
        second = coarse(first)

    assert first.shape == (1, channels[0], *FINE)
    assert second.shape == (1, channels[1], *COARSE)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_weight_learns_and_the_mask_moves_the_answer(name: Backbone) -> None:
    torch.manual_seed(1)
    network = DiagnoserNetwork(4, Architecture(name)).eval()

    logits, _ = network(an_image(), a_lesion())
    torch.nn.functional.cross_entropy(logits, torch.tensor([2])).backward()
    with torch.inference_mode():
        elsewhere, _ = network(an_image(), a_lesion().flip(-1))

    assert [key for key, one in network.named_parameters() if one.grad is None or not one.grad.any()] == []
    assert (logits - elsewhere).abs().max() > 0


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_open_with_the_backbone_that_they_name(name: Backbone) -> None:
    made = DiagnoserNetwork(4, Architecture(name)).eval()
    tensors = {f"network.{key}": tensor for key, tensor in made.state_dict().items()}

    opened = DiagnoserNetwork.of(Weights(tensors, {"classes": [*"abcd"], "backbone": name}, "")).eval()

    with torch.inference_mode():
        assert torch.equal(opened(an_image(), a_lesion())[0], made(an_image(), a_lesion())[0])


def test_a_backbone_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'vgg': one of resnet, densenet121, convnext expected"):
        build("vgg")


def test_weights_open_with_the_pooling_that_they_name_and_with_no_other() -> None:
    made = DiagnoserNetwork(4, Architecture(tumor_pool="global")).eval()
    tensors = {f"network.{key}": tensor for key, tensor in made.state_dict().items()}
    told = {"classes": [*"abcd"]}

    opened, usual = (
        DiagnoserNetwork.of(Weights(tensors, told | more, "")).eval() for more in ({"tumor_pool": "global"}, {})
    )

    with torch.inference_mode():
        pooled, before, masked = (one(an_image(), a_lesion())[0] for one in (opened, made, usual))
    assert torch.equal(pooled, before)
    assert not torch.equal(pooled, masked)
    with pytest.raises(ValueError, match="one of global, masked expected"):
        DiagnoserNetwork.of(Weights(tensors, told | {"tumor_pool": "nearest"}, ""))


def test_a_command_names_what_is_not_usual() -> None:
    assert not Architecture().words
    assert Architecture("convnext", "global").words == " --backbone convnext --tumor-pool global"
