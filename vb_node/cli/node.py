"""Commands of the node as a whole, and of one case by hand."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from storage.account import account
from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from vb_node.exit_status import DONE, FAILED

if TYPE_CHECKING:
    from vb_node.runtime.line import Station

app = typer.Typer()


@app.command()
def demo(
    study: Annotated[
        Path | None, typer.Option(help="A folder with one DICOM study; without it a phantom is made.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the demonstration's files go.")] = Path("vb-node-demo"),
) -> None:
    """Show everything on this machine: an archive, the node, a study sent to it, and the results that come back.

    Example: vb-node demo --study my-study
    """
    from vb_node import demo as demonstration

    raise typer.Exit(demonstration.run(study, out))


@app.command()
def init(file: Annotated[Path, typer.Argument()] = DEFAULT_CONFIG) -> None:
    """Write a commented configuration file; never overwrite one.

    Example: vb-node init /etc/vb-node/node.toml
    """
    from vb_node.config import EXAMPLE
    from vb_node.errors import ConfigError

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(EXAMPLE)
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already and is not overwritten: name another file") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(f"{file} written; set peers and destinations, then: vb-node serve --config {file}")


@app.command()
def serve(
    config: Config = DEFAULT_CONFIG,
    only: Annotated[
        Literal["receive", "assemble", "work", "deliver", "tell", "retain", "web"] | None,
        typer.Option(help="Run one station, not all."),
    ] = None,
) -> None:
    """Run the node until it is told to stop (SIGTERM).

    Example: vb-node serve --config node.toml
    """
    from vb_node import config as configuration
    from vb_node import log
    from vb_node.runtime import node, supervised

    settings = configuration.load(config)
    log.start()
    if only is None:
        from vb_node.runtime import supervisor

        status = supervisor.supervise(config, _station)
    else:
        status = node.run_station(only, settings, _station(only))
    supervised.obey_no_more()
    raise typer.Exit(status)


def _station(name: str) -> "Station":
    """Give what a process turns, with all that it imports."""
    if name == "web":
        from vb_node.web.station import serve

        return serve
    from vb_node.runtime.stations import STATIONS

    return STATIONS[name]


@app.command()
def process(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with one DICOM study or series.")],
    out: Annotated[Path, typer.Option(help="Where the results go.")],
    application: Annotated[str, typer.Option(help="Which application runs.")] = "virtual_biopsy",
    config: Annotated[Path | None, typer.Option(help="A configuration file for the application's settings.")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="Write the series as NIfTI too.")] = False,
    viewer_profile: Annotated[
        str, typer.Option(help="Write what a destination of this profile gets; see `vb-node init`.")
    ] = "standard",
) -> None:
    """Run an application over a folder, without any network: DICOM in, results out.

    Example: vb-node process study/ --out results/
    """
    from vb_node.by_hand import process_folder

    status = process_folder(folder, out, application, config, viewer_profile=viewer_profile, with_nifti=nifti)
    raise typer.Exit(status)


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="A new folder for the copy; it holds patient data.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Copy ledger, received images and results as they are now, while the node runs; 1 if a file is lost.

    To go back to it, stop the node and put the folder in the place of its data folder.

    Example: vb-node backup --out /mnt/backup/2026-11-21
    """

    from vb_node.backup import back_up
    from vb_node.cli.options import ledger

    settings, database = ledger(config)
    made = back_up(database, settings, out, user=account())
    typer.echo(f"{made.instances} instances, {made.results} results and the ledger are in {out}")
    typer.echo(f"{made.lines} lines of the audit trail are whole; the last is {made.last}, with digest {made.digest}")
    for uid in made.missing:
        typer.echo(f"lost or damaged: the file of {uid}", err=True)
    raise typer.Exit(FAILED if made.missing else DONE)


@app.command()
def conformance(
    config: Annotated[Path | None, typer.Option(help="Print the AE titles of this configuration.")] = None,
) -> None:
    """Print the DICOM Conformance Statement of this version, in Markdown.

    Example: vb-node conformance --config node.toml > conformance.md
    """
    from vb_node import config as configuration
    from vb_node.conformance.statement import statement

    settings = configuration.load(config) if config else configuration.build({})
    sys.stdout.write(statement(settings, is_default=config is None))


@app.command()
def doctor(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Look at disk, ledger, clock, routes, certificates, destinations, GPU, weights and versions: 1 if one is wrong.

    Example: vb-node doctor --config node.toml
    """
    from vb_node import config as configuration
    from vb_node import doctor as check_up
    from vb_node import show

    findings = list(check_up.examine(configuration.load(config)))
    show.rows("Doctor", [vars(one) for one in findings], as_json=as_json)
    raise typer.Exit(FAILED if any(one.state == check_up.WRONG for one in findings) else DONE)
