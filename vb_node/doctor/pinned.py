"""The weights, beside their digests."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from vb_node.config import Settings
from vb_node.doctor.finding import GOOD, WRONG, Finding
from vb_node.errors import ConfigError
from vb_node.models.pins import MODEL, MODELS, PRETRAINED, read_pins, read_site_pin, site_folder, site_names


def weights(folder: Path = PRETRAINED) -> list[Finding]:
    """Compare each weights file with its digest."""
    return [_weights_file(folder / name, pin.sha256) for name, pin in read_pins(folder).items()]


def site_weights(settings: Settings) -> Iterator[Finding]:
    """Compare the weights that a site imported with their digests; those that are configured must be among them."""
    for name in sorted({*site_names(settings.data), *settings.named_weights}):
        folder = site_folder(settings.data, name)
        try:
            sha256 = read_site_pin(folder).sha256
        except ConfigError as error:
            yield Finding(f"weights {name}", WRONG, str(error), "import them, or name others in [virtual_biopsy]")
            continue
        yield _weights_file(folder / MODELS / MODEL, sha256, f"weights {name}", "remove them and import them again")


def _weights_file(path: Path, sha256: str, about: str = "", again: str = "install the package again") -> Finding:
    about = about or f"weights {path.name}"
    if not path.is_file():
        return Finding(about, WRONG, "missing", again)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    is_same = digest == sha256
    return Finding(about, GOOD if is_same else WRONG, f"sha256 {digest}", "" if is_same else again)
