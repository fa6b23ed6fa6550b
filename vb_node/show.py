"""What the command line prints: progress bars, tables, JSON and CSV."""

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from storage.schema import Delivery, Event, Job

console = Console()
console_for_people = Console(stderr=True)
FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""What a spreadsheet takes for the beginning of a formula."""


def progress() -> Progress:
    """Make a progress bar; on a terminal it moves, elsewhere it is silent."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console_for_people, transient=True)


def table(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Print a table; a value is text, never markup."""
    view = Table(title=title, title_justify="left", highlight=False)
    for column in columns:
        view.add_column(column, overflow="fold")
    for line in lines:
        view.add_row(*(Text(_printable(value)) for value in line))
    console.print(view)


def rows(title: str, records: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print records as a table or as JSON."""
    if as_json:
        sys.stdout.write(json.dumps(list(records), indent=2) + "\n")
    elif records:
        table(title, list(records[0]), [list(record.values()) for record in records])
    else:
        console.print(f"{title}: none")


def document(told: Mapping[str, object]) -> None:
    """Print one JSON object; what is no number is null."""
    sys.stdout.write(json.dumps(plain(told), indent=2) + "\n")


def plain(value: Any) -> Any:
    """Give what JSON knows: it has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listing(
    title: str, records: Sequence[Mapping[str, object]], form: str, columns: Sequence[str] | None = None
) -> None:
    """Print records as a table, JSON or CSV; ``columns`` head a CSV that has no line."""
    if form == "csv":
        write_csv(sys.stdout, records, columns or list(records[0]))
    else:
        rows(title, records, as_json=form == "json")


def counted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """Count equal pairs of (answer, why)."""
    return [(answer, count, why) for (answer, why), count in sorted(Counter(pairs).items())]


def moment(seconds: float | None) -> str | None:
    """Write a time of the ledger as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def details(event: Event, left_out: Collection[str] = ()) -> str:
    """Write the details of an event on one line, those that say nothing left out."""
    return _pairs({name: value for name, value in event.details.items() if name not in left_out}, ", ")


def _pairs(words: Mapping[str, object], between: str) -> str:
    told = {name: value for name, value in words.items() if value not in (None, "", [], {})}
    return between.join(
        f"{name} {_pairs(value, ' ') if isinstance(value, dict) else value}" for name, value in told.items()
    )


def job_row(job: Job) -> dict[str, object]:
    """Give the line of a job in a list."""
    return {
        "id": job.id,
        "state": job.state,
        "reason": job.reason,
        "application": job.application,
        "is_shadow": job.is_shadow,
        "series_instance_uid": job.series_instance_uid,
        "study_instance_uid": job.study_instance_uid,
        "step": job.step,
        "progress": round(job.progress, 2),
        "attempts": job.attempts,
        "created": moment(job.created_at),
        "finished": moment(job.finished_at),
    }


def brief(row: Mapping[str, object]) -> dict[str, object]:
    """Keep what fits a line of a terminal: a job's id leads to the rest."""
    return {name: row[name] for name in ("id", "state", "reason", "step", "progress", "created", "finished")}


def whole_job(job: Job, deliveries: Sequence[Delivery], log: Sequence[Event]) -> dict[str, object]:
    """Give all that the ledger holds of one job."""
    return {
        **job_row(job),
        "key": job.key,
        "version": job.version,
        "route": job.route,
        "priority": job.priority,
        "accession_number": job.accession_number,
        "patient_id": job.patient_id,
        "closed_by": job.closed_by,
        "supersedes": job.supersedes_id,
        "detail": job.detail,
        "errors": job.errors,
        "crashes": job.crash_count,
        "started": moment(job.started_at),
        "plan": job.plan,
        "outcome": job.outcome,
        "instances": len(job.inputs),
        "inputs": [{"sop_instance_uid": item.sop_instance_uid, "sha256": item.sha256} for item in job.inputs],
        "results": [
            {
                "role": result.role,
                "sop_instance_uid": result.sop_instance_uid,
                "sha256": result.sha256,
                "path": result.path,
            }
            for result in job.results
        ],
        "deliveries": [delivery_row(delivery) for delivery in deliveries],
        "log": [event_row(event) for event in log],
    }


_LISTS = {"inputs", "results", "deliveries", "log"}
_LOG_COLUMNS = ("at", "event", "actor", "series_instance_uid", "peer", "details")


def job(whole: Mapping[str, Any], *, as_json: bool) -> None:
    """Print all of one job."""
    if as_json:
        sys.stdout.write(json.dumps(whole, indent=2) + "\n")
        return
    table(f"Job {whole['id']}", ["", ""], [(name, value) for name, value in whole.items() if name not in _LISTS])
    rows("Results", whole["results"], as_json=False)
    rows("Deliveries", whole["deliveries"], as_json=False)
    table("Log", _LOG_COLUMNS, [[line[column] for column in _LOG_COLUMNS] for line in whole["log"]])


def delivery_row(delivery: Delivery) -> dict[str, object]:
    """Give the line of a delivery in a list."""
    return {
        "id": delivery.id,
        "role": delivery.result.role,
        "destination": delivery.destination,
        "state": delivery.state,
        "status": None if delivery.status is None else f"{delivery.status:04X}",
        "attempts": delivery.attempts,
        "due": moment(delivery.due_at),
        "sent": moment(delivery.sent_at),
        "detail": delivery.detail,
    }


def event_row(event: Event) -> dict[str, object]:
    """Give one line of the audit trail."""
    return {
        "seq": event.seq,
        "at": moment(event.at),
        "event": event.event,
        "outcome": event.outcome,
        "actor": event.actor,
        "peer": event.peer,
        "patient_id": event.patient_id,
        "accession_number": event.accession_number,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "job_id": event.job_id,
        "user": event.user,
        "details": event.details,
    }


def events(found: Sequence[Event], form: str, limit: int) -> None:
    """Print lines of the audit trail as a table, JSON or CSV."""
    lines = [event_row(event) for event in found]
    if len(lines) == limit:
        console_for_people.print(f"only the first {limit} lines are shown: narrow the search, or give --limit")
    listing("Audit trail", lines, form, list(event_row(Event(details={}))))


def write_csv(stream: TextIO, records: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write records as CSV that a spreadsheet takes for text."""
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows([_cell(record[column]) for column in columns] for record in records)


def _cell(value: object) -> str:
    """Write a CSV cell that a spreadsheet does not take for a formula, wide letters of East Asia included (W-11)."""
    text = _printable(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA else text


def _printable(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(character if character.isprintable() else " " for character in text)
