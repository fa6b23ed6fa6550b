"""The command line. Each command imports what it needs when it runs, so that ``--help`` answers at once.

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 not analysed (a result that says why was written).
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vb_node.exit_status import DONE, FAILED, WRONG_USAGE

if TYPE_CHECKING:
    from storage.database import Database
    from vb_node.config import Settings
    from vb_node.dimse.scu import Address

app = typer.Typer(
    name="vb-node",
    help="A DICOM node: MR series come in, the Virtual Biopsy pipeline runs, SEG and SR go back. Investigational.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
jobs_app = typer.Typer(help="Jobs in the ledger. Example: vb-node jobs show 7", no_args_is_help=True)
audit_app = typer.Typer(help="The audit trail. Example: vb-node audit search --accession A123", no_args_is_help=True)
train_app = typer.Typer(help="Train the networks. Example: vb-node train diagnoser --out weights", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(audit_app, name="audit")
app.add_typer(train_app, name="train")

Config = Annotated[Path, typer.Option("--config", envvar="VBNODE_CONFIG", help="The node's configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AetHostPort = Annotated[str, typer.Option("--to", help="AET@HOST:PORT of the receiver.")]


def run() -> None:
    """Run the command line; an error that a person can mend is told in one paragraph, not as a stack trace."""
    from vb_node.errors import ConfigError, NodeError  # late: keeps --help fast

    try:
        app()
    except ConfigError as error:
        sys.exit(_tell(error, WRONG_USAGE))
    except NodeError as error:
        sys.exit(_tell(error, FAILED))


def _tell(error: Exception, status: int) -> int:
    typer.echo(f"vb-node: {error}", err=True)
    return status


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
def init(file: Annotated[Path, typer.Argument()] = Path("node.toml")) -> None:
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
    config: Config = Path("node.toml"),
    only: Annotated[
        Literal["receive", "assemble", "work", "deliver", "web"] | None, typer.Option(help="Run one station, not all.")
    ] = None,
) -> None:
    """Run the node until it is told to stop (SIGTERM).

    Example: vb-node serve --config node.toml
    """
    from vb_node import config as configuration
    from vb_node import log
    from vb_node.runtime import line, node

    settings = configuration.load(config)
    log.start()
    if only is None:
        raise typer.Exit(node.supervise(settings, config))
    if only == node.WEB:
        from vb_node.web import station

        raise typer.Exit(node.run_station(only, settings, station.serve))
    raise typer.Exit(node.run_station(only, settings, line.STATIONS[only]))


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
def send(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    to: AetHostPort,
    calling: Annotated[str, typer.Option(help="Our AE title.")] = "VBNODE",
    associations: Annotated[int, typer.Option(min=1, max=64, help="How many at once.")] = 1,
) -> None:
    """Send a folder of DICOM files by C-STORE.

    Example: vb-node send study/ --to PACS@127.0.0.1:4242
    """
    from vb_node import show
    from vb_node.dicom.read import read_folder
    from vb_node.dimse import scu
    from vb_node.errors import ConfigError

    peer = _address(to)
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
) -> None:
    """Ask a peer whether it is there (C-ECHO).

    Example: vb-node echo PACS@127.0.0.1:4242
    """
    from vb_node.dimse import scu

    peer = _address(to)
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
        judgement = pacs.judge(pacs_fault, calling, (host, port), seconds)
    elif to is None:
        raise ConfigError("--to AET@HOST:PORT expected: the node that the fault is done to")
    else:
        judgement = sender.judge(fault, _address(to), calling)
    show.rows("Simulated", [vars(judgement)], as_json=False)
    raise typer.Exit(DONE if judgement.is_good else FAILED)


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="Where the cases go.")],
    cases: Annotated[int, typer.Option(min=1)] = 1,
    seed: Annotated[int, typer.Option()] = 0,
    kind: Annotated[Literal["dicom", "nifti"], typer.Option("--as")] = "dicom",
) -> None:
    """Make phantoms: heads with a labelled tumour that no patient ever had.

    Example: vb-node phantom --out phantoms --cases 4 --seed 1
    """
    from vb_node import show
    from vb_node.training.phantom import generate

    with show.progress() as bar:
        task = bar.add_task("phantoms", total=cases)
        generate(out, cases, seed, kind, lambda done, total: bar.update(task, completed=done, total=total))
    typer.echo(f"{cases} phantoms in {out}")


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


def _address(text: str) -> "Address":
    from vb_node.dimse.scu import Address
    from vb_node.errors import ConfigError

    ae_title, at, rest = text.partition("@")
    host, colon, port = rest.rpartition(":")
    if not (at and colon and ae_title and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"AET@HOST:PORT expected, such as PACS@127.0.0.1:4242; {text!r} came")
    return Address(ae_title, host, int(port))


def _ledger(config: Path) -> "tuple[Settings, Database]":
    from vb_node import config as configuration
    from vb_node.runtime.node import open_ledger

    settings = configuration.load(config)
    return settings, open_ledger(settings)


@jobs_app.command("list")
def jobs_list(
    config: Config = Path("node.toml"),
    state: Annotated[str | None, typer.Option(help="SCHEDULED, 'IN PROGRESS', COMPLETED, FAILED or CANCELED.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: vb-node jobs list --state FAILED
    """
    from storage import jobs
    from vb_node import show

    _, database = _ledger(config)
    with database.read() as session:
        rows = [show.job_row(job) for job in jobs.listing(session, state=state, limit=limit)]
    show.rows("Jobs", rows if as_json else [show.brief(row) for row in rows], as_json=as_json)


@jobs_app.command("show")
def jobs_show(
    job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = Path("node.toml"), as_json: AsJson = False
) -> None:
    """Show one job: its states, its results and where they are, and its log.

    Example: vb-node jobs show 7
    """
    from storage import audit, jobs
    from vb_node import show

    _, database = _ledger(config)
    with database.read() as session:
        job = _found(jobs.get, session, job_id)
        deliveries = jobs.deliveries_of(session, job_id)
        log = audit.search(session, since=None, until=None, limit=10_000, job_id=job_id)
        show.job(job, deliveries, log, as_json=as_json)


@jobs_app.command("retry")
def jobs_retry(job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = Path("node.toml")) -> None:
    """Put a FAILED or CANCELED job on the shelf again; parked deliveries of a job resume.

    Example: vb-node jobs retry 7
    """
    from storage import jobs

    _change(jobs.retry, job_id, config)


@jobs_app.command("cancel")
def jobs_cancel(job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = Path("node.toml")) -> None:
    """Cancel a job that has not ended.

    Example: vb-node jobs cancel 7
    """
    from storage import jobs

    _change(jobs.cancel, job_id, config)


def _change(change: Any, job_id: int, config: Path) -> None:
    import getpass
    import time

    _, database = _ledger(config)
    with database.write() as session:
        job = _found(change, session, job_id, now=time.time(), user=getpass.getuser())
        typer.echo(f"job {job.id} is {job.state}")


def _found(function: Any, *words: Any, **named: Any) -> Any:
    from storage.jobs import NotNow
    from vb_node.errors import NodeError

    try:
        return function(*words, **named)
    except NotNow as error:
        raise NodeError(str(error)) from error


@audit_app.command("search")
def audit_search(  # noqa: PLR0913, PLR0917  one parameter an option
    config: Config = Path("node.toml"),
    since: Annotated[datetime | None, typer.Option(help="Not before, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before, UTC.")] = None,
    patient_id: Annotated[str | None, typer.Option()] = None,
    accession: Annotated[str | None, typer.Option()] = None,
    study: Annotated[str | None, typer.Option()] = None,
    series: Annotated[str | None, typer.Option()] = None,
    sop: Annotated[str | None, typer.Option()] = None,
    peer: Annotated[str | None, typer.Option()] = None,
    job: Annotated[int | None, typer.Option()] = None,
    event: Annotated[str | None, typer.Option()] = None,
    user: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1)] = 10_000,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
) -> None:
    """Find lines of the audit trail, oldest first; every option is an exact value.

    Example: vb-node audit search --accession A123 --since 2026-01-01 --format csv
    """
    from datetime import UTC

    from storage import audit
    from vb_node import show

    _, database = _ledger(config)
    keys = {
        "patient_id": patient_id,
        "accession_number": accession,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": sop,
        "peer": peer,
        "job_id": job,
        "event": event,
        "user": user,
    }
    first, last = (moment.replace(tzinfo=UTC).timestamp() if moment else None for moment in (since, until))
    with database.read() as session:
        show.events(audit.search(session, since=first, until=last, limit=limit, **keys), form, limit)


@audit_app.command("verify")
def audit_verify(config: Config = Path("node.toml")) -> None:
    """Walk the audit trail and say whether a line was changed, taken out or put in after it was written.

    Example: vb-node audit verify --config node.toml
    """
    from storage import audit
    from vb_node.errors import NodeError

    _, database = _ledger(config)
    with database.read() as session:
        try:
            lines, seq, digest = audit.verify(session)
        except audit.Broken as error:
            raise NodeError(f"{error}: keep a copy of the ledger and compare it with your backups") from error
    typer.echo(f"{lines} lines, none changed; the last is {seq}, its digest {digest}")


@train_app.command("diagnoser")
def train_diagnoser(
    out: Annotated[Path, typer.Option(help="Where the weights go.")],
    cases: Annotated[int, typer.Option(min=8)] = 400,
    seed: Annotated[int, typer.Option()] = 1,
    epochs: Annotated[int, typer.Option(min=1)] = 12,
) -> None:
    """Train Adaptive-Diagnoser on generated phantoms; the defaults are those of the shipped weights.

    Example: vb-node train diagnoser --out weights --cases 400 --seed 1
    """
    from vb_node import show
    from vb_node.training.fit import train_diagnoser as train

    with show.progress() as bar:
        task = bar.add_task("training", total=None)
        figures = train(out, cases, seed, epochs, lambda done, total: bar.update(task, completed=done, total=total))
    show.rows("Diagnoser", [figures], as_json=False)
