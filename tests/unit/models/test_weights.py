"""Only the weights that were trained and pinned are opened."""

from pathlib import Path

import pytest
import torch

from vb_node.errors import ConfigError
from vb_node.models.pins import PRETRAINED, Pin, read_pins
from vb_node.models.weights import open_weights, write_pin, write_weights

NAME = "small.safetensors"


def write(folder: Path, tensor: torch.Tensor) -> Path:
    path = folder / NAME
    digest = write_weights(path, {"w": tensor}, {"classes": ["a", "b"], "seed": 1})
    write_pin(path, Pin(digest, "vb-node train", 1, {"accuracy": 0.5}))
    return path


def test_pinned_weights_come_back_with_what_is_known_of_them(tmp_path: Path) -> None:
    write(tmp_path, torch.arange(6.0))

    weights = open_weights(NAME, tmp_path)

    assert torch.equal(weights.tensors["w"], torch.arange(6.0))
    assert weights.metadata == {"classes": ["a", "b"], "seed": 1}
    assert weights.sha256 == read_pins(tmp_path)[NAME].sha256


def test_k_04_one_changed_byte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, torch.arange(6.0))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(ConfigError, match="expected sha256"):
        open_weights(NAME, tmp_path)


def test_weights_that_nobody_pinned_are_refused(tmp_path: Path) -> None:
    write(tmp_path, torch.arange(6.0))

    with pytest.raises(ConfigError, match=r"pins\.json"):
        open_weights("other.safetensors", tmp_path)


def test_k_01_another_format_is_refused_even_when_pinned(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    torch.save({"w": torch.zeros(1)}, path)
    write_pin(path, Pin("0", "", 0, {}))

    with pytest.raises(ConfigError, match="safetensors"):
        open_weights("small.pt", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, torch.arange(6.0)).unlink()

    with pytest.raises(ConfigError, match="file missing"):
        open_weights(NAME, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_k_02_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    write(tmp_path, torch.tensor([1.0, value]))

    with pytest.raises(ConfigError, match="no numbers"):
        open_weights(NAME, tmp_path)


def test_the_same_tensors_have_the_same_digest(tmp_path: Path) -> None:
    digests = {write_weights(tmp_path / f"{n}.safetensors", {"w": torch.ones(3)}, {"b": 1, "a": 2}) for n in range(3)}

    assert len(digests) == 1


def test_every_shipped_file_is_pinned_and_small() -> None:
    shipped = sorted(path.name for path in PRETRAINED.glob("*.safetensors"))

    assert shipped == sorted(read_pins(PRETRAINED))
    assert sum((PRETRAINED / name).stat().st_size for name in shipped) <= 10e6
    for name in shipped:
        assert open_weights(name).tensors
