"""Open weights by name and digest: safetensors only, and only files that ``pins.json`` beside them names.

A weights file is code's equal: what is not the file that was trained and pinned is refused before it is parsed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from vb_node.errors import ConfigError
from vb_node.models.pins import PINS, PRETRAINED, Pin, read_pins


@dataclass(frozen=True, eq=False)
class Weights:
    """An opened file: tensors by name, the metadata it carries, and its digest."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    sha256: str


def learned_from(weights: Weights | None) -> list[str]:
    """Name every data set that weights, or those that they go on from, have learned from, by its digest."""
    if weights is None:
        return []
    return list(weights.metadata.get("learned_from") or filter(None, [weights.metadata.get("data_sha256")]))


def open_weights(name: str, folder: Path = PRETRAINED) -> Weights:
    """Open a pinned file.

    Raises
    ------
    ConfigError
        The file is not pinned, missing, not safetensors, not the one that was pinned, or holds values that are no
        numbers.
    """
    pin = read_pins(folder).get(name)
    if pin is None or not name.endswith(".safetensors"):
        raise ConfigError(f"weights {name}: expected a safetensors file that {PINS} names; install the package again")
    path = folder / name
    if not path.is_file():
        raise ConfigError(f"weights {name}: file missing from {folder.name}; install the package again")
    data = path.read_bytes()
    digest = sha256(data).hexdigest()
    if digest != pin.sha256:
        raise ConfigError(f"weights {name}: expected sha256 {pin.sha256[:12]}, found {digest[:12]}; install them again")
    return parse_weights(name, data, digest)


def parse_weights(name: str, data: bytes, digest: str) -> Weights:
    """Parse a file whose digest is known; raise ``ConfigError`` for values that are no numbers."""
    tensors = load(data)
    _refuse_non_numbers(name, tensors)
    return Weights(tensors, _metadata(data), digest)


def _refuse_non_numbers(name: str, tensors: Mapping[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(f"weights {name}: tensor {key} holds values that are no numbers; install them again")


def _metadata(data: bytes) -> dict[str, Any]:
    """Read the header's free text: its length is the first 8 bytes, our JSON is one entry of it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(json.loads(header["__metadata__"][_KEY]))


# One entry, because safetensors writes several in no fixed order, and the same training must give the same digest.
_KEY = "vb_node"


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Write a safetensors file; give its sha256."""
    contiguous = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    data = save(contiguous, metadata={_KEY: json.dumps(metadata, sort_keys=True)})
    path.write_bytes(data)
    return sha256(data).hexdigest()


def write_pin(path: Path, pin: Pin) -> None:
    """Name a weights file in the ``pins.json`` beside it."""
    book = path.with_name(PINS)
    pins = json.loads(book.read_text("utf-8")) if book.exists() else {}
    pins[path.name] = asdict(pin)
    book.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n", "utf-8")
