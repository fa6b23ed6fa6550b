"""What the audit trail has gained since a line: counted by the database, so that who asks often reads little."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.schema import Event, Job


class Count(NamedTuple):
    """How often an event came from or went to a peer, and when last."""

    event: str
    peer: str | None
    lines: int
    last_at: float


def end(session: Session) -> int:
    """Give the number of the last line."""
    return session.scalar(select(func.max(Event.seq))) or 0


def events(session: Session, after: int, last: int) -> list[Count]:
    """Count the lines after one, up to another, by event and peer."""
    query = select(Event.event, Event.peer, func.count(), func.max(Event.at))
    query = query.where(Event.seq > after, Event.seq <= last).group_by(Event.event, Event.peer)
    return [Count(*row) for row in session.execute(query)]


def refusals(session: Session, after: int, last: int) -> Mapping[str, int]:
    """Count the instances that were refused by DIMSE status."""
    status = Event.details["status"].as_string().label("status")
    query = select(status, func.count().label("lines")).where(Event.seq > after, Event.seq <= last)
    query = query.where(Event.event == "instance refused").group_by("status")
    return {row.status: row.lines for row in session.execute(query)}


def outcomes(session: Session, after: int, last: int) -> list[tuple[str, dict[str, Any] | None]]:
    """Give application and outcome of the jobs that were completed."""
    query = select(Job.application, Job.outcome).join(Event, Event.job_id == Job.id)
    query = query.where(Event.seq > after, Event.seq <= last, Event.event == "job completed")
    return [(application, outcome) for application, outcome in session.execute(query)]
