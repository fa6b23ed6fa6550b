"""``vb-node audit``: who received, computed and sent what."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from storage.account import account
from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config, ledger
from vb_node.exit_status import DONE, FAILED

app = typer.Typer(help="The audit trail. Example: vb-node audit search --accession A123", no_args_is_help=True)


@app.command("search")
def audit_search(  # noqa: PLR0913, PLR0917  one parameter an option
    config: Config = DEFAULT_CONFIG,
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
    model: Annotated[str | None, typer.Option(help="Name or SHA-256 of weights.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 10_000,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
) -> None:
    """Find lines of the audit trail, oldest first; every option is an exact value.

    Example: vb-node audit search --accession A123 --since 2026-01-01 --format csv
    """
    from storage import audit
    from vb_node import show

    _, database = ledger(config)
    keys: dict[str, Any] = {
        "patient_id": patient_id,
        "accession_number": accession,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": sop,
        "peer": peer,
        "job_id": job,
        "event": event,
        "user": user,
        "model": model,
    }
    with database.read() as session:
        found = audit.search(session, since=_seconds(since), until=_seconds(until), limit=limit, **keys)
    show.events(found, form, limit)


@app.command("verify")
def audit_verify(config: Config = DEFAULT_CONFIG) -> None:
    """Walk the audit trail and say whether a line was changed, taken out or put in after it was written.

    Example: vb-node audit verify --config node.toml
    """
    from storage import audit
    from storage.chain import Broken
    from vb_node.errors import NodeError

    _, database = ledger(config)
    with database.read() as session:
        try:
            trail = audit.verify(session)
        except Broken as error:
            raise NodeError(f"{error}: keep a copy of the ledger and compare it with your backups") from error
    typer.echo(f"{trail.lines} lines, none changed; the last is {trail.last}, its digest {trail.digest}")


@app.command("ask")
def audit_ask(  # noqa: PLR0913, PLR0917  one parameter an option
    number: Annotated[int | None, typer.Argument(metavar="N", help="The question; without it all are listed.")] = None,
    config: Config = DEFAULT_CONFIG,
    since: Annotated[datetime | None, typer.Option(help="Not before, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before, UTC.")] = None,
    patient_id: Annotated[str | None, typer.Option()] = None,
    accession: Annotated[str | None, typer.Option()] = None,
    study: Annotated[str | None, typer.Option()] = None,
    series: Annotated[str | None, typer.Option()] = None,
    sop: Annotated[str | None, typer.Option()] = None,
    peer: Annotated[str | None, typer.Option()] = None,
    job: Annotated[int | None, typer.Option()] = None,
    user: Annotated[str | None, typer.Option()] = None,
    application: Annotated[str | None, typer.Option()] = None,
    version: Annotated[str | None, typer.Option(help="Of the application.")] = None,
    model: Annotated[str | None, typer.Option(help="Name or SHA-256 of weights.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 10_000,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
) -> None:
    """Ask one of the auditor's questions; without a number they are listed, with what each may be asked by.

    Example: vb-node audit ask 6 --accession A123 --format csv
    """

    from vb_node import ask, show

    if number is None:
        show.listing("Questions", ask.listing(), form)
        return
    about: dict[str, Any] = {
        "patient_id": patient_id,
        "accession_number": accession,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": sop,
        "peer": peer,
        "job_id": job,
        "user": user,
        "application": application,
        "version": version,
        "model": model,
        "since": _seconds(since),
        "until": _seconds(until),
    }
    settings, database = ledger(config)
    given = ask.answer(database, settings, number, about, user=account(), actor="operator", limit=limit)
    show.listing(given.question.words, given.rows, form, given.columns)
    if given.is_cut:
        show.console_for_people.print(f"only the first {limit} rows are shown: narrow the question, or give --limit")
    if given.question.unknown:
        show.console_for_people.print(f"Not told: {given.question.unknown}", highlight=False, markup=False)


def _seconds(moment: datetime | None) -> float | None:
    """Read a time without an offset as UTC."""
    from datetime import UTC

    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


@app.command("rerun")
def audit_rerun(
    job_id: Annotated[int, typer.Argument(metavar="JOB")], config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Run a job again with what was recorded, and compare: 0 if it gives the same bytes, 1 if not. Nothing is sent.

    Example: vb-node audit rerun 7
    """

    from vb_node import rerun, show

    settings, database = ledger(config)
    found = rerun.run(database, settings, job_id, user=account())
    show.rows(f"Job {job_id}, run again", found, as_json=as_json)
    raise typer.Exit(DONE if all(row["is_same"] for row in found) else FAILED)


@app.command("evidence")
def audit_evidence(
    out: Annotated[Path, typer.Option(help="The ZIP file to write; it holds patient data.")],
    config: Config = DEFAULT_CONFIG,
    accession: Annotated[str | None, typer.Option(help="All of this order.")] = None,
    job: Annotated[int | None, typer.Option(help="All of this job.")] = None,
) -> None:
    """Write all that is known of an order or a job into one file: instances, jobs, results, deliveries, audit trail.

    Example: vb-node audit evidence --accession A123 --out A123.zip
    """

    from vb_node import dossier
    from vb_node.errors import ConfigError

    if (accession is None) == (job is None):
        raise ConfigError("either --accession A or --job ID expected")
    about = {"accession_number": accession} if job is None else {"job_id": job}
    settings, database = ledger(config)
    members = dossier.write(database, settings, out, user=account(), **about)
    typer.echo(f"{len(members)} files in {out}")
