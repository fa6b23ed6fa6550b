"""Commands that speak to a peer."""

from pathlib import Path
from typing import Annotated

import typer

from vb_node.cli.options import (
    AetHostPort,
    TlsCa,
    TlsCertificate,
    TlsKey,
    address,
    client_tls,
    server_tls,
)
from vb_node.exit_status import DONE, FAILED

app = typer.Typer()


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    to: AetHostPort,
    calling: Annotated[str, typer.Option(help="Our AE title.")] = "VBNODE",
    associations: Annotated[int, typer.Option(min=1, max=64, help="How many at once.")] = 1,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
) -> None:
    """Send a folder of DICOM files by C-STORE.

    Example: vb-node send study/ --to PACS@127.0.0.1:4242
    """
    from vb_node import show
    from vb_node.dicom.read import read_folder
    from vb_node.dimse import scu
    from vb_node.errors import ConfigError

    peer = address(to, client_tls(tls_ca, tls_certificate, tls_key))
    paths = [instance.path for series in read_folder(folder).values() for instance in series]
    if not paths:
        raise ConfigError(f"no DICOM file in {folder}: name a folder that holds some")
    with show.progress() as bar:
        task = bar.add_task("sending", total=len(paths))
        sent = []
        for one in scu.store_many(paths, peer, calling, associations):
            sent.append(one)
            bar.advance(task)
    show.table("Sent", ["answer", "files", "why"], show.counted((scu.words_of(one.status), one.why) for one in sent))
    raise typer.Exit(DONE if all(scu.is_stored(one.status) for one in sent) else FAILED)


@app.command()
def echo(
    to: Annotated[str, typer.Argument(metavar="AET@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="Our AE title.")] = "VBNODE",
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
) -> None:
    """Ask a peer whether it is there (C-ECHO).

    Example: vb-node echo PACS@127.0.0.1:4242
    """
    from vb_node.dimse import scu

    peer = address(to, client_tls(tls_ca, tls_certificate, tls_key))
    scu.echo(peer, calling)
    typer.echo(f"{peer} answers")


@app.command()
def simulate(
    fault: Annotated[str, typer.Argument(metavar="FAULT", help="A fault of a sender, or 'pacs' to be a faulty PACS.")],
    to: Annotated[str | None, typer.Option(help="AET@HOST:PORT of the node that a fault is done to.")] = None,
    calling: Annotated[str, typer.Option(help="Our AE title: for a sender, one that the node knows.")] = "SIMULATE",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the PACS listens.")] = 11113,
    host: Annotated[str, typer.Option(help="On which address the PACS listens.")] = "127.0.0.1",
    pacs_fault: Annotated[str, typer.Option("--fault", help="What the PACS does wrong.")] = "none",
    seconds: Annotated[float, typer.Option(min=1, help="How long the PACS waits for the node.")] = 120.0,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
) -> None:
    """Do wrong to a node, or be a faulty PACS for one, and judge how it takes it: 0 well, 1 not.

    Example: vb-node simulate half-pdu --to VBNODE@127.0.0.1:11112 --calling CT1
    """
    from vb_node import show
    from vb_node.errors import ConfigError
    from vb_node.simulate import pacs, sender

    known, wanted = (pacs.FAULTS, pacs_fault) if fault == "pacs" else (sender.FAULTS, fault)
    if wanted not in known:
        raise ConfigError(f"a fault expected, one of {', '.join(known)}; {wanted!r} came")
    if fault == "pacs":
        judgement = pacs.judge(pacs_fault, calling, (host, port), seconds, server_tls(tls_ca, tls_certificate, tls_key))
    elif to is None:
        raise ConfigError("--to AET@HOST:PORT expected: the node that the fault is done to")
    else:
        judgement = sender.judge(fault, address(to, client_tls(tls_ca, tls_certificate, tls_key)), calling)
    show.rows("Simulated", [vars(judgement)], as_json=False)
    raise typer.Exit(DONE if judgement.is_good else FAILED)
