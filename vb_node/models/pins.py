"""Which weights may be opened: those of ``pretrained/pins.json``, and those that a site imported.

No torch here, so that a job can be planned without it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vb_node.errors import ConfigError

PRETRAINED = Path(__file__).parent / "pretrained"
PINS = "pins.json"
DIAGNOSER = "diagnoser.safetensors"
LOCALIZER = "localizer.safetensors"
# What a site imported, in its data folder.
SITE = "weights"
# A bundle of a site's own: weights, and their pin beside them.
MODELS, MODEL = "models", "model.safetensors"


# Which of the two networks weights are of.
Network = Literal["diagnoser", "localizer"]


@dataclass(frozen=True)
class Pin:
    """What is known of one weights file: its digest, and how it came to be.

    ``command`` and ``seed`` make it again; ``figures`` are what was measured on held-out cases;
    ``is_synthetic`` says that it has never seen a patient, ``network`` whose weights they are.
    """

    sha256: str
    command: str
    seed: int
    figures: Mapping[str, float]
    is_synthetic: bool = True
    network: Network = "diagnoser"


def read_pins(folder: Path = PRETRAINED) -> Mapping[str, Pin]:
    """Read which files may be opened."""
    return {name: Pin(**pin) for name, pin in json.loads((folder / PINS).read_text("utf-8")).items()}


def digests(folder: Path = PRETRAINED) -> dict[str, str]:
    """Give the SHA-256 of each pinned file by name."""
    return {name: pin.sha256 for name, pin in read_pins(folder).items()}


def site_folder(data: Path, name: str) -> Path:
    """Give where weights of this name lie, if they were imported."""
    return data / SITE / name


def site_names(data: Path) -> list[str]:
    """Name the weights that were imported."""
    return sorted(path.parent.parent.name for path in (data / SITE).glob(f"[!.]*/{MODELS}/{PINS}"))


def read_site_pin_of(network: Network, folder: Path) -> Pin:
    """Read what is known of imported weights; raise ``ConfigError`` where there are none, or they are of another."""
    pin = read_site_pin(folder)
    if pin.network != network:
        raise ConfigError(f"weights {folder.name} are of the {pin.network}: name weights of the {network} there")
    return pin


def read_site_pin(folder: Path) -> Pin:
    """Read what is known of imported weights; raise ``ConfigError`` where there are none."""
    try:
        return read_pins(folder / MODELS)[MODEL]
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = "no such weights here: see `vb-node weights list`, or import them with `vb-node weights import`"
        raise ConfigError(f"weights {folder.name}: {what}") from error
