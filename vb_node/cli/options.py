"""What several commands take: options, addresses, the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from storage.database import Database
    from vb_node.config import Settings
    from vb_node.dimse.scu import Address
    from vb_node.dimse.tls import ClientTls, ServerTls

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
TlsCa = Annotated[
    Path | None, typer.Option(help="Speak TLS with a peer whose certificate one of these authorities signed (PEM).")
]
TlsCertificate = Annotated[Path | None, typer.Option(help="Our certificate for TLS (PEM).")]
TlsKey = Annotated[Path | None, typer.Option(help="The key of our certificate (PEM).")]
DEFAULT_CONFIG = Path("node.toml")


def address(text: str, tls: "ClientTls | None" = None) -> "Address":
    from vb_node.dimse.scu import Address
    from vb_node.errors import ConfigError

    ae_title, at, rest = text.partition("@")
    host, colon, port = rest.rpartition(":")
    if not (at and colon and ae_title and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"AET@HOST:PORT expected, such as PACS@127.0.0.1:4242; {text!r} came")
    return Address(ae_title, host, int(port), tls)


def client_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> "ClientTls | None":
    """Give how a peer is to be spoken to by TLS, None for none; raise ``ConfigError`` where the files do not do."""
    from vb_node.dimse.tls import ClientTls, TlsFiles
    from vb_node.errors import ConfigError

    if ca is None and certificate is None and key is None:
        return None
    if ca is None or (certificate is None) != (key is None):
        raise ConfigError(
            "for TLS --tls-ca expected, and --tls-certificate with --tls-key where the peer asks for them"
        )
    tls = ClientTls(TlsFiles(certificate, key, ca), section="--tls-ca, --tls-certificate, --tls-key")
    tls.context()
    return tls


def server_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> "ServerTls | None":
    """Give how peers are to come by TLS, None for none; with ``ca`` they must show a certificate of it."""
    from vb_node.dimse.tls import ServerTls, TlsFiles
    from vb_node.errors import ConfigError

    if ca is None and certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("to listen with TLS --tls-certificate and --tls-key expected")
    return ServerTls(TlsFiles(certificate, key, ca), section="--tls-ca, --tls-certificate, --tls-key")


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
