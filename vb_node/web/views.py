"""What the pages show: plain words and numbers made of the shelves, ready for a template."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from storage import arrivals, audit, jobs, overview, stations
from storage.disk import Disk
from storage.schema import Job
from vb_node.config import Settings
from vb_node.gpu import gpus
from vb_node.web.timeline import timeline

ALIVE_S = 10.0
HOUR_S, DAY_S = 3600.0, 86400.0
BAR, BARS = 18, 60  # of the picture of the last day, in its own units: width of an hour, height
STATES = ("COMPLETED", "FAILED", "CANCELED")


def ago(then: float | None, now: float) -> str:
    """Say how long ago something was, as people do."""
    if then is None:
        return ""
    seconds = max(now - then, 0.0)
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock(moment: float | None) -> str:
    """Write a time of the ledger in UTC."""
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


@dataclass(frozen=True)
class Bar:
    """One state in one hour, as a rectangle."""

    state: str
    x: int
    y: float
    height: float
    words: str


def glance(session: Session, settings: Settings, disk: Disk, now: float) -> dict[str, Any]:
    """Give what the first page shows."""
    hours = overview.last_day(session, now=now)
    return {
        "now": now,
        "arriving": arrivals.open_since(session),
        "waiting_since": jobs.waiting_since(session),
        "states": jobs.counts(session),
        "stations": [
            {"name": one.name, "up": ago(one.started_at, now), "is_alive": now - one.beat_at < ALIVE_S}
            for one in stations.listing(session)
        ],
        "senders": overview.senders(session, _peers(settings), now=now),
        "gpus": gpus(),
        "ways": overview.ways(session, [one.name for one in settings.destinations]),
        "disk_used": disk.used,
        "disk_free_gib": disk.free_bytes / 2**30,
        "is_full": disk.is_full(),
        "bars": bars(hours),
        "ended": {state: sum(hour.get(state, 0) for hour in hours) for state in STATES},
    }


def _peers(settings: Settings) -> list[str]:
    """Name who may send: by DIMSE, and by STOW-RS."""
    by_web = settings.web.peers if settings.web is not None else ()
    return [one.ae_title for one in settings.receive.peers] + [one.ae_title for one in by_web]


def bars(hours: Sequence[Mapping[str, int]]) -> list[Bar]:
    """Draw the jobs that ended in each hour, failed ones on top."""
    most = max((sum(hour.values()) for hour in hours), default=0) or 1
    drawn = []
    for number, hour in enumerate(hours):
        y = float(BARS)
        for state in STATES:
            height = BARS * hour.get(state, 0) / most
            y -= height
            if height:
                ago_h = len(hours) - 1 - number
                drawn.append(Bar(state, number * BAR, y, height, f"{ago_h} h ago: {hour[state]} {state}"))
    return drawn


def whole(session: Session, job_id: int, now: float) -> dict[str, Any] | None:
    """Give what the page of a job shows, None where there is no such job."""
    job = jobs.find(session, job_id)
    if job is None:
        return None
    log = audit.search(session, since=None, until=None, limit=1000, job_id=job_id)
    closings = audit.search(
        session,
        since=None,
        until=None,
        limit=100,
        event="series closed",
        series_instance_uid=job.series_instance_uid,
    )
    deliveries = jobs.deliveries_of(session, job_id)
    is_parked = any(one.state == "parked" for one in deliveries)
    has_failed = job.state in {"FAILED", "CANCELED"}
    kept = arrivals.instances_of_series(session, job.series_instance_uid)
    return {
        "job": job,
        "now": now,
        "deliveries": deliveries,
        "moments": timeline(job, kept, [*closings, *log]),
        "outcome": outcome(job),
        "can_retry": (has_failed or is_parked) and not job.is_held,
        "retry_words": "Run again" if has_failed else "Send again",
        "can_cancel": job.state in {"SCHEDULED", "IN PROGRESS"},
    }


def outcome(job: Job) -> list[tuple[str, str]]:
    """Give the summary of a result as words, flat: the name of each value says where it stands."""
    return list(_flat("", job.outcome or {}))


def _flat(place: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(f"{place} {key}".strip(), inner)]
    if isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        return [row for number, inner in enumerate(value, 1) for row in _flat(f"{place} {number}", inner)]
    if isinstance(value, float):
        return [(place, f"{value:.3g}")]
    return [(place, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
