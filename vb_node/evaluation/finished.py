"""Finished weights that a command is given, and the classes they count in."""

from collections.abc import Iterable
from pathlib import Path

from vb_node.errors import ConfigError
from vb_node.models.architecture import Architecture
from vb_node.models.backbones import Backbone
from vb_node.models.bundle import read_bundle
from vb_node.models.diagnoser import WEIGHTS
from vb_node.models.mca import TumorPool
from vb_node.models.pins import LOCALIZER
from vb_node.models.weights import Weights, learned_from, open_weights
from vb_node.training.cases import DataSet
from vb_node.training.diagnoser import BASELINE
from vb_node.training.tumour import CLASSES

SHIPPED = Path("shipped")


def open_finished(weights: Path) -> Weights:
    """Open a diagnoser's weights, of a bundle or ``SHIPPED``; raise ``ConfigError`` where they are not as expected."""
    opened = open_weights(WEIGHTS) if weights == SHIPPED else read_bundle(weights)
    if "classes" not in opened.metadata:
        raise ConfigError(f"{weights.name} is no bundle of a diagnoser: name one that `vb-node train diagnoser` wrote")
    return opened


def open_localizer(weights: Path) -> Weights:
    """Open a localizer's weights: ``SHIPPED``, a bundle's, or those that a training left in a folder.

    Raises
    ------
    ConfigError
        They are not as expected, or are no localizer's.
    """
    if weights == SHIPPED:
        return open_weights(LOCALIZER)
    if (weights / LOCALIZER).is_file():
        return open_weights(LOCALIZER, weights)
    opened = read_bundle(weights)
    if opened.metadata.get("network") != "localizer":
        raise ConfigError(f"{weights.name} is no bundle of a localizer: name one that `vb-node train localizer` wrote")
    return opened


def open_baseline(folder: Path, start: Weights | None) -> Weights:
    """Open the network without mask that a training on phantoms left in ``folder``, beside ``start``.

    Raises
    ------
    ConfigError
        There is none, or it is of another training than the weights that the other arms go on from.
    """
    if not (folder / BASELINE).is_file():
        raise ConfigError(
            f"{folder}: the folder of a training on phantoms (without --data) expected, with its {BASELINE}"
        )
    baseline = open_weights(BASELINE, folder)
    if start is None or start.metadata["command"] != baseline.metadata["command"]:
        raise ConfigError(
            f"{folder.name} was made by `{baseline.metadata['command']}`: name its bundle with --start, so that all "
            "arms begin alike"
        )
    return baseline


def named(weights: Path) -> str:
    """Name weights as a command does that is told to others."""
    return str(SHIPPED) if weights == SHIPPED else "BUNDLE"


def classes_of(names: Iterable[str | None]) -> tuple[str, ...]:
    """Give the classes that occur, in the order in which they are always told."""
    occurring = set(names)
    return tuple(name for name in CLASSES if name in occurring)


def classes_with(occurring: Iterable[str | None], weights: Weights | None) -> tuple[str, ...]:
    """Give the classes of the weights, where there are any; raise ``ConfigError`` for classes that they do not know."""
    classes = classes_of(occurring)
    if weights is None:
        return classes
    known = tuple(weights.metadata["classes"])
    if unknown := set(classes) - set(known):
        raise ConfigError(f"the weights know {', '.join(known)}; the data set has {', '.join(sorted(unknown))} too")
    return known


def architecture_with(backbone: Backbone | None, pool: TumorPool | None, start: Weights | None) -> Architecture:
    """Give a training's architecture; raise ``ConfigError`` for another than that of the weights it goes on from."""
    own = Architecture() if start is None else Architecture.of(start.metadata)
    asked = Architecture(backbone or own.backbone, pool or own.tumor_pool)
    if start is not None and asked != own:
        raise ConfigError(
            f"the weights to start from have the backbone {own.backbone} with {own.tumor_pool} pooling, not "
            f"{asked.backbone} with {asked.tumor_pool} pooling: leave out --backbone and --tumor-pool"
        )
    return asked


def refuse_known(data: DataSet, weights: Weights | None) -> None:
    """Raise ``ConfigError`` where the weights ever learned from this data set: what they say of it is no figure."""
    if data.sha256 in learned_from(weights):
        raise ConfigError("the weights were trained on this data set: take other cases, or other weights")
