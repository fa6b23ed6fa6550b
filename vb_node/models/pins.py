"""Which weights may be opened: ``pretrained/pins.json``. No torch here, so that a job can be planned without it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PRETRAINED = Path(__file__).parent / "pretrained"
PINS = "pins.json"
LOCALIZER = "localizer.safetensors"
# A bundle of a site's own: weights, and their pin beside them.
MODELS, MODEL = "models", "model.safetensors"


@dataclass(frozen=True)
class Pin:
    """What is known of one weights file: its digest, and how it came to be.

    ``command`` and ``seed`` make it again; ``figures`` are what was measured on held-out cases;
    ``is_synthetic`` says that it has never seen a patient.
    """

    sha256: str
    command: str
    seed: int
    figures: Mapping[str, float]
    is_synthetic: bool = True


@cache
def read_pins(folder: Path = PRETRAINED) -> Mapping[str, Pin]:
    """Read which files may be opened."""
    return {name: Pin(**pin) for name, pin in json.loads((folder / PINS).read_text("utf-8")).items()}


def digests(folder: Path = PRETRAINED) -> dict[str, str]:
    """Give the SHA-256 of each pinned file by name."""
    return {name: pin.sha256 for name, pin in read_pins(folder).items()}
