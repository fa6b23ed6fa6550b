"""``vb-node audit``: who received, computed and sent what."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vb_node.cli.options import DEFAULT_CONFIG, Config, ledger

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
    limit: Annotated[int, typer.Option(min=1)] = 10_000,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
) -> None:
    """Find lines of the audit trail, oldest first; every option is an exact value.

    Example: vb-node audit search --accession A123 --since 2026-01-01 --format csv
    """
    from datetime import UTC

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
    }
    first, last = (moment.replace(tzinfo=UTC).timestamp() if moment else None for moment in (since, until))
    with database.read() as session:
        show.events(audit.search(session, since=first, until=last, limit=limit, **keys), form, limit)


@app.command("verify")
def audit_verify(config: Config = DEFAULT_CONFIG) -> None:
    """Walk the audit trail and say whether a line was changed, taken out or put in after it was written.

    Example: vb-node audit verify --config node.toml
    """
    from storage import audit
    from vb_node.errors import NodeError

    _, database = ledger(config)
    with database.read() as session:
        try:
            lines, seq, digest = audit.verify(session)
        except audit.Broken as error:
            raise NodeError(f"{error}: keep a copy of the ledger and compare it with your backups") from error
    typer.echo(f"{lines} lines, none changed; the last is {seq}, its digest {digest}")


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
    import getpass

    from vb_node import dossier
    from vb_node.errors import ConfigError

    if (accession is None) == (job is None):
        raise ConfigError("either --accession A or --job ID expected")
    about = {"accession_number": accession} if job is None else {"job_id": job}
    settings, database = ledger(config)
    members = dossier.write(database, settings, out, user=getpass.getuser(), **about)
    typer.echo(f"{len(members)} files in {out}")
