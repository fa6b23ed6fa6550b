"""The memory rule: what published sizes need, and how many pictures fit."""

import subprocess
import sys

import pytest

from vb_node.errors import ConfigError
from vb_node.models.memory import (
    GIB,
    NoMemory,
    cache_bytes_per_token,
    device_memory,
    fitting_batch,
    need_bytes,
)

# num_hidden_layers, num_key_value_heads, head_dim as published; KiB a token in bfloat16
SIZES = [((28, 8, 128), 112), ((36, 8, 128), 144), ((64, 8, 128), 256)]


@pytest.mark.parametrize(("dimensions", "kib"), SIZES, ids=["2B", "4B and 8B", "32B"])
def test_the_cache_of_a_token_is_that_of_the_published_dimensions(dimensions: tuple[int, ...], kib: int) -> None:
    names = ("num_hidden_layers", "num_key_value_heads", "head_dim")
    config = {"text_config": dict(zip(names, dimensions, strict=True)) | {"num_attention_heads": 32}}

    assert cache_bytes_per_token(config, 2) == kib * 1024


def test_eight_billion_parameters_fit_a_card_of_24_gib_with_a_batch_of_eight() -> None:
    need = need_bytes(8_770_000_000, 2, 8, 1150, 144 * 1024)

    assert 21 * GIB < need < 24 * GIB


def test_the_batch_steps_down_to_what_fits() -> None:
    assert fitting_batch(8, 20 * GIB, GIB, free=24 * GIB, total=24 * GIB) == 4
    assert fitting_batch(8, 20 * GIB, GIB, free=80 * GIB, total=80 * GIB) == 8


def test_a_model_that_can_never_fit_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigError, match="take a smaller model"):
        fitting_batch(8, 24 * GIB, GIB, free=24 * GIB, total=24 * GIB)


def test_a_model_that_does_not_fit_now_is_tried_later() -> None:
    with pytest.raises(NoMemory, match=r"10\.0 GiB are free"):
        fitting_batch(8, 20 * GIB, GIB, free=10 * GIB, total=24 * GIB)


def test_this_machine_says_what_it_has() -> None:
    free, total = device_memory("cpu")

    assert 0 < free <= total


def test_a_process_has_no_more_than_it_may_take() -> None:
    program = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
from vb_node.models.memory import device_memory
print(max(device_memory("cpu")))
"""

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert int(told.stdout) <= 3 * GIB
