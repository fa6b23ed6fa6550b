"""What the ledger holds at a glance: each destination's way, and how the last day went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from storage import associations, deliveries, outages
from storage.schema import Job, Outage

HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass(frozen=True)
class Way:
    """One destination: what is not done by state, the oldest of what waits, and since when it is down, if it is."""

    destination: str
    states: Mapping[str, int]
    oldest: float | None
    down_since: float | None = None
    why: str | None = None


def ways(session: Session, destinations: Sequence[str]) -> list[Way]:
    """Give each destination that is configured, or that something still waits for."""
    queues, down = deliveries.queues(session), {one.destination: one for one in outages.listing(session)}
    names = sorted({*destinations, *(name for name, _ in queues)})
    return [_way(name, queues, down) for name in names]


def _way(name: str, queues: Mapping[tuple[str, str], deliveries.Queue], down: Mapping[str, Outage]) -> Way:
    own = {state: queue for (destination, state), queue in queues.items() if destination == name}
    waiting = [queue.since for state, queue in own.items() if state != "parked"]
    states = {state: queue.length for state, queue in own.items()}
    outage = down.get(name)
    since, why = (outage.since, outage.detail) if outage is not None else (None, None)
    return Way(name, states, min(waiting, default=None), since, why)


@dataclass(frozen=True)
class Sender:
    """A peer that may send, when it last brought something, and in how many associations of the last day."""

    peer: str
    last: float | None
    associations: int


def senders(session: Session, peers: Sequence[str], *, now: float) -> list[Sender]:
    """Give each peer that is configured."""
    count = associations.count
    return [
        Sender(peer, associations.last_arrival(session, peer), count(session, peer, since=now - DAY_S))
        for peer in sorted({*peers})
    ]


def last_day(session: Session, *, now: float) -> list[dict[str, int]]:
    """Count the jobs that ended in each of the last 24 hours, oldest first, by state."""
    age = cast((now - Job.finished_at) / HOUR_S, Integer)
    query = select(age, Job.state, func.count()).where(Job.finished_at > now - DAY_S, Job.finished_at <= now)
    hours: list[dict[str, int]] = [{} for _ in range(24)]
    for hours_ago, state, count in session.execute(query.group_by(age, Job.state)):
        hours[23 - min(int(hours_ago), 23)][state] = count
    return hours
