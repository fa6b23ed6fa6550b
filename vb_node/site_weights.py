"""``vb-node weights import|remove``: weights that a site trained, taken into the node's data, and let go again.

What is imported is data: it is loaded into the network once, before anything is copied, and nothing of it is evaluated.
It is used where the configuration names it, and each job's plan then names its digest.
"""

import re
import shutil
import time
from pathlib import Path

from sqlalchemy.orm import Session

from storage import audit
from storage.database import Database
from vb_node.config import Settings
from vb_node.dicom import codes
from vb_node.errors import ConfigError
from vb_node.models.pins import MODEL, MODELS, Pin, read_site_pin, site_folder, site_names

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def add(database: Database, settings: Settings, bundle: Path, name: str, *, user: str) -> Pin:
    """Check a bundle, a folder or a ZIP archive, copy it and tell of it in the audit trail; give its pin.

    Raises
    ------
    ConfigError
        The bundle is not as expected, or the name is taken or none.
    """
    from vb_node.models.bundle_archive import as_folder  # late: torch

    if not NAME.fullmatch(name):
        raise ConfigError(
            f"a name of 1 to 64 letters, digits or _ . - expected, not begun by a dot; {name[:64]!r} came"
        )
    folder = site_folder(settings.data, name)
    if folder.exists():
        raise ConfigError(f"there are weights {name} already: remove them first, or give another name with --as")
    part = folder.with_name(f".{name}.part")
    with as_folder(bundle) as opened:
        pin = _copy(opened, part)
    with database.write() as session:
        _tell(session, "weights imported", name, pin, user)
        part.rename(folder)
    return pin


def remove(database: Database, settings: Settings, name: str, *, user: str) -> None:
    """Remove imported weights; raise ``ConfigError`` where there are none, or the configuration names them."""
    if name not in site_names(settings.data):
        raise ConfigError(f"weights {name[:64]!r}: none of this name; imported are {site_names(settings.data)}")
    if name in settings.named_weights:
        raise ConfigError(f"[virtual_biopsy], or that of a route, names {name}: name others first")
    folder = site_folder(settings.data, name)
    with database.write() as session:
        _tell(session, "weights removed", name, read_site_pin(folder), user)
        shutil.rmtree(folder)


def _copy(bundle: Path, part: Path) -> Pin:
    """Check a bundle and copy it with its pin."""
    from vb_node.models.bundle import read_bundle  # late: torch
    from vb_node.models.weights import write_pin  # late: torch

    pin = _check(bundle)
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(bundle, part)
    if read_bundle(part).sha256 != pin.sha256:
        raise ConfigError(f"bundle {bundle.name} changed while it was copied: import it again")
    write_pin(part / MODELS / MODEL, pin)
    return pin


def _check(bundle: Path) -> Pin:
    """Load a bundle's weights as a job would; raise ``ConfigError`` where they do not fit."""
    from vb_node.applications.virtual_biopsy.diagnose import Diagnoser  # late: torch
    from vb_node.applications.virtual_biopsy.network import NetworkDetector  # late: torch
    from vb_node.models.bundle import read_bundle  # late: torch

    weights = read_bundle(bundle)
    told = weights.metadata
    try:
        command, seed, is_synthetic = str(told["command"]), int(told["seed"]), told["is_trained_on_synthetic_data"]
        figures = {str(name): float(value) for name, value in told["figures"].items()}
        if told.get("network") == "localizer":
            NetworkDetector.of(weights).rehearse()
            return Pin(weights.sha256, command, seed, figures, bool(is_synthetic), "localizer")
        classes = tuple(map(str, told["classes"]))
        Diagnoser.of(weights).rehearse()
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        what = f"its weights do not fit the network of this version ({type(error).__name__})"
        raise ConfigError(f"bundle {bundle.name}: {what}") from error
    if len(set(classes)) < 2 or not set(classes) <= set(codes.CLASSES):
        expected = ", ".join(codes.CLASSES)
        raise ConfigError(f"bundle {bundle.name}: two or more of the classes {expected} expected")
    return Pin(weights.sha256, command, seed, figures, bool(is_synthetic))


def _tell(session: Session, event: str, name: str, pin: Pin, user: str) -> None:
    details = {"name": name, "sha256": pin.sha256}
    audit.record(session, event, now=time.time(), actor="operator", user=user, details=details)
