"""What several commands take: options, addresses, the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from storage.database import Database
    from vb_node.config import Settings
    from vb_node.dimse.scu import Address

Config = Annotated[Path, typer.Option("--config", envvar="VBNODE_CONFIG", help="The node's configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Masks = Annotated[Literal["drawn", "localizer"], typer.Option(help="Whose say where a lesion of --data is.")]
Backbone = Annotated[
    Literal["resnet", "densenet121", "convnext"] | None, typer.Option(help="Of the network; default: a narrow ResNet.")
]
TumorPool = Annotated[
    Literal["masked", "global"] | None,
    typer.Option(help="Over what the gated map is pooled; default: the lesion. global: as the paper draws it."),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto: on a GPU if there is one.")
]
AetHostPort = Annotated[str, typer.Option("--to", help="AET@HOST:PORT of the receiver.")]
DEFAULT_CONFIG = Path("node.toml")


def address(text: str) -> "Address":
    from vb_node.dimse.scu import Address
    from vb_node.errors import ConfigError

    ae_title, at, rest = text.partition("@")
    host, colon, port = rest.rpartition(":")
    if not (at and colon and ae_title and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"AET@HOST:PORT expected, such as PACS@127.0.0.1:4242; {text!r} came")
    return Address(ae_title, host, int(port))


def ledger(config: Path) -> "tuple[Settings, Database]":
    from vb_node import config as configuration
    from vb_node.runtime.node import open_ledger

    settings = configuration.load(config)
    return settings, open_ledger(settings)


def found(function: Any, *words: Any, **named: Any) -> Any:
    from storage.jobs import NotNow
    from vb_node.errors import NodeError

    try:
        return function(*words, **named)
    except NotNow as error:
        raise NodeError(str(error)) from error
