"""What the ledger holds at a glance: how much waits on each shelf, since when, and how the last day went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from storage.schema import Delivery, Job, Outage, Series, Station

HOUR_S, DAY_S = 3600.0, 86400.0
WAITING = ("pending", "sending", "retry")


@dataclass(frozen=True)
class Queue:
    """What waits on a shelf: how many, and since when the oldest of them."""

    waiting: int
    oldest: float | None


@dataclass(frozen=True)
class Way:
    """One destination: its deliveries by state, and since when it is down, if it is."""

    destination: str
    states: Mapping[str, int]
    oldest: float | None
    down_since: float | None
    why: str | None


def arriving(session: Session) -> Queue:
    """Count the series that are still arriving."""
    query = select(func.count(), func.min(Series.opened_at)).where(Series.closed_at.is_(None))
    return Queue(*session.execute(query).one())


def scheduled(session: Session) -> Queue:
    """Count the jobs that wait for a worker."""
    query = select(func.count(), func.min(Job.created_at)).where(Job.state == "SCHEDULED")
    return Queue(*session.execute(query).one())


def jobs_by_state(session: Session) -> dict[str, int]:
    """Count all jobs by state."""
    counted = session.execute(select(Job.state, func.count().label("count")).group_by(Job.state))
    return {row.state: row.count for row in counted}


def ways(session: Session, destinations: Sequence[str]) -> list[Way]:
    """Give each destination that is configured, or that something still waits for."""
    counted = select(Delivery.destination, Delivery.state, func.count(), func.min(Delivery.created_at))
    states: dict[str, dict[str, int]] = {name: {} for name in destinations}
    oldest: dict[str, float] = {}
    for name, state, count, first in session.execute(counted.group_by(Delivery.destination, Delivery.state)):
        states.setdefault(name, {})[state] = count
        if state in WAITING:
            oldest[name] = min(first, oldest.get(name, first))
    outages = {one.destination: one for one in session.scalars(select(Outage))}
    down = {name: (one.since, one.detail) for name, one in outages.items()}
    return [
        Way(name, found, oldest.get(name), *down.get(name, (None, None)))
        for name, found in sorted(states.items())
        if name in destinations or set(found) & {*WAITING, "parked"}
    ]


def stations(session: Session) -> Sequence[Station]:
    """Give every process that says in the ledger that it is alive."""
    return session.scalars(select(Station).order_by(Station.name)).all()


def last_day(session: Session, *, now: float) -> list[dict[str, int]]:
    """Count the jobs that ended in each of the last 24 hours, oldest first, by state."""
    age = cast((now - Job.finished_at) / HOUR_S, Integer)
    query = select(age, Job.state, func.count()).where(Job.finished_at > now - DAY_S, Job.finished_at <= now)
    hours: list[dict[str, int]] = [{} for _ in range(24)]
    for hours_ago, state, count in session.execute(query.group_by(age, Job.state)):
        hours[23 - min(int(hours_ago), 23)][state] = count
    return hours
