"""A CPU computes exactly; a GPU in mixed precision, whose answers are the same but for the last digits."""

import pytest
import torch

from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.errors import ConfigError
from vb_node.models.device import asking, choose, half_where_fast, lay, settle
from vb_node.models.diagnoser import NETWORK_SHAPE
from vb_node.models.lesion_network import CHANNELS, PATCH, WEIGHTS, build
from vb_node.models.memory import NoMemory
from vb_node.models.weights import open_weights


def test_auto_is_a_gpu_where_there_is_one_and_a_wish_stands() -> None:
    assert choose("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no GPU: look at the driver"):
        choose("cuda")


def test_a_cpu_computes_exactly_and_without_gradients() -> None:
    network, field = settle(torch.nn.Conv3d(1, 1, 3), "cpu"), torch.rand(1, 1, 8, 8, 8)

    with asking("cpu"):
        answer = network(lay(field, "cpu"))

    assert answer.dtype == torch.float32
    assert not answer.requires_grad
    assert torch.equal(answer, network(field))


def test_a_gpu_without_memory_is_a_reason_to_wait() -> None:
    with pytest.raises(NoMemory, match="end what else runs there"), asking("cpu"):
        raise torch.OutOfMemoryError


def test_mixed_precision_is_for_gpus_alone() -> None:
    with half_where_fast("cpu"):
        assert not torch.is_autocast_enabled("cpu")


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_the_localizers_network_answers_alike_in_mixed_precision() -> None:
    network, field = build().eval(), noise(1, CHANNELS, *PATCH)
    network.load_state_dict(open_weights(WEIGHTS).tensors)

    with torch.inference_mode():
        exact = torch.sigmoid(network(field))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = torch.sigmoid(network(field).float())

    assert not torch.equal(mixed, exact)
    assert torch.allclose(mixed, exact, atol=0.05)


def test_the_diagnosers_network_answers_alike_in_mixed_precision() -> None:
    network = Diagnoser.load().network
    image, lesion = noise(1, 1, *NETWORK_SHAPE), torch.zeros(1, 1, *NETWORK_SHAPE)
    lesion[..., 40:46, 48:54, 40:46] = 1

    with torch.inference_mode():
        exact, fused = network.answer(image, lesion)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, mixed_fused = network.answer(image, lesion)

    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert torch.allclose(torch.softmax(mixed, 1), torch.softmax(exact, 1), atol=0.03)
    assert torch.allclose(mixed_fused.float(), fused, rtol=0.1, atol=0.05)
