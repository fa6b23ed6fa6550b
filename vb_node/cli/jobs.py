"""``vb-node jobs``: what the shelf JOBS holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from storage.account import account
from vb_node.cli.options import DEFAULT_CONFIG, AsJson, Config, found, ledger

State = Literal["SCHEDULED", "IN PROGRESS", "COMPLETED", "FAILED", "CANCELED"]

app = typer.Typer(help="Jobs in the ledger. Example: vb-node jobs show 7", no_args_is_help=True)


@app.command("list")
def jobs_list(
    config: Config = DEFAULT_CONFIG,
    state: Annotated[State | None, typer.Option(help="Those in this state alone.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: vb-node jobs list --state FAILED
    """
    from storage import jobs
    from vb_node import show

    _, database = ledger(config)
    with database.read() as session:
        rows = [show.job_row(job) for job in jobs.listing(session, state=state, limit=limit)]
    show.rows("Jobs", rows if as_json else [show.brief(row) for row in rows], as_json=as_json)


@app.command("show")
def jobs_show(
    job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Show one job: its states, its results and where they are, and its log.

    Example: vb-node jobs show 7
    """
    from storage import audit, jobs
    from vb_node import show

    _, database = ledger(config)
    with database.read() as session:
        job = found(jobs.get, session, job_id)
        deliveries = jobs.deliveries_of(session, job_id)
        log = audit.search(session, since=None, until=None, limit=10_000, job_id=job_id)
        show.job(show.whole_job(job, deliveries, log), as_json=as_json)


@app.command("compare")
def jobs_compare(
    since: Annotated[datetime | None, typer.Option(help="Compared since then, UTC.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Lay the jobs of shadow routes beside the live ones of the same images: how far they agree, disagreements first.

    Example: vb-node jobs compare --since 2026-11-01
    """
    import json

    from vb_node import shadow, show

    _, database = ledger(config)
    with database.read() as session:
        summaries, pairs = shadow.listing(session, None if since is None else since.replace(tzinfo=UTC).timestamp())
    if as_json:
        typer.echo(json.dumps({"summaries": summaries, "pairs": pairs}, indent=2))
        return
    for summary in summaries:
        show.table(f"Route {summary['route']} beside the live one", ["", ""], list(summary.items()))
    show.rows("Pairs, live / shadow", [shadow.brief(pair) for pair in pairs], as_json=False)


@app.command("retry")
def jobs_retry(
    job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Put a FAILED or CANCELED job on the shelf again; parked deliveries of a job resume.

    Example: vb-node jobs retry 7
    """
    from storage import jobs

    _change(jobs.retry, job_id, config, as_json)


@app.command("resume")
def jobs_resume(
    destination: Annotated[str, typer.Argument(metavar="DESTINATION")],
    config: Config = DEFAULT_CONFIG,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Send all that is parked for a destination again, in order, with fresh patience.

    Example: vb-node jobs resume pacs --yes
    """
    import time

    from storage import deliveries
    from storage.deliveries import Queue
    from vb_node.errors import NodeError

    _, database = ledger(config)
    with database.read() as session:
        count = deliveries.queues(session).get((destination, "parked"), Queue(0, 0.0)).length
    if count and not is_sure:
        typer.confirm(f"Send {count} parked results to {destination} again?", abort=True)
    try:
        with database.write() as session:
            count = deliveries.send_all_again(session, destination, now=time.time(), user=account())
    except deliveries.NotParked as error:
        raise NodeError(str(error)) from error
    typer.echo(f"{count} results are on their way to {destination}")


@app.command("cancel")
def jobs_cancel(
    job_id: Annotated[int, typer.Argument(metavar="ID")], config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Cancel a job that has not ended.

    Example: vb-node jobs cancel 7
    """
    from storage import jobs

    _change(jobs.cancel, job_id, config, as_json)


def _change(change: Any, job_id: int, config: Path, as_json: bool) -> None:
    import time

    from vb_node import show

    _, database = ledger(config)
    with database.write() as session:
        job = found(change, session, job_id, now=time.time(), user=account())
        if as_json:
            show.document(show.job_row(job))
        else:
            typer.echo(f"job {job.id} is {job.state}")
