"""What the ledger answers to an auditor: each answer is made by one query, of what is on the shelves now.

A row is plain words and numbers; columns that end in ``_at`` are seconds since 1970. What one asks by is an exact
value of a column (``About``); each answer looks at the columns that questions.py lets it be asked by, and no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from storage import audit, weights
from storage.schema import Association, Event, Instance, Job, JobInput, Result, Series

Row = dict[str, Any]
MOST_ROWS = 10_000
REFUSALS = ("instance refused", "instance set aside", "association rejected")
WAYS = (
    *(f"delivery {word}" for word in ("begun", "sent", "retry", "parked", "committed", "superseded", "resumed")),
    *(f"commitment {word}" for word in ("requested", "not requested", "failed")),
)
RERUN = "job computed again"
_KEYS = (
    "accession_number",
    "patient_id",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "peer",
    "user",
    "application",
    "version",
)


@dataclass(frozen=True)
class About:
    """What is asked about; ``keep_s`` is how long the node keeps files, None: for ever."""

    accession_number: str | None = None
    patient_id: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    peer: str | None = None
    user: str | None = None
    application: str | None = None
    version: str | None = None
    model: str | None = None
    job_id: int | None = None
    since: float | None = None
    until: float | None = None
    limit: int = MOST_ROWS
    keep_s: float | None = None

    def of(self, table: Any, at: Any = None) -> list[ColumnElement[bool]]:
        """Give the conditions on a table: its columns that are asked by, and its time."""
        wanted = [
            getattr(table, key) == value for key in _KEYS if (value := getattr(self, key)) and hasattr(table, key)
        ]
        if self.job_id is not None:
            wanted.append((table.id if hasattr(table, "supersedes_id") else table.job_id) == self.job_id)
        if self.model is not None:
            wanted.append(weights.are_of(self.model, table.id))
        if at is not None and self.since is not None:
            wanted.append(at >= self.since)
        if at is not None and self.until is not None:
            wanted.append(at < self.until)
        return wanted


def arrivals(session: Session, about: About) -> list[Row]:
    """Give each instance that came, when, from whom and from which host."""
    query = (
        select(
            Instance.received_at,
            Instance.peer,
            Association.host,
            Instance.sop_instance_uid,
            Instance.sop_class_uid,
            Series.series_instance_uid,
            Series.study_instance_uid,
            Instance.sha256,
            Instance.size_bytes,
            Instance.deleted_at,
        )
        .join(Series, Instance.series_instance_uid == Series.series_instance_uid)
        .outerjoin(Association, Instance.association_id == Association.id)
        .where(*about.of(Series))
        .order_by(Instance.received_at, Instance.sop_instance_uid)
    )
    return _rows(session, query, about)


def refusals(session: Session, about: About) -> list[Row]:
    """Give what was not taken, with its status and why."""
    details = [Event.details[name].as_string().label(name) for name in ("host", "status", "why")]
    columns = Event.at, Event.event, Event.peer, Event.sop_instance_uid, *details
    query = select(*columns).where(Event.event.in_(REFUSALS), *about.of(Event, Event.at)).order_by(Event.seq)
    return _rows(session, query, about)


def results(session: Session, about: About) -> list[Row]:
    """Give the objects that were made."""
    query = (
        select(
            Result.job_id,
            Job.state,
            Result.role,
            Result.sop_class_uid,
            Result.sop_instance_uid,
            Result.series_instance_uid,
            Result.sha256,
            Result.created_at,
            Result.deleted_at,
        )
        .join(Job, Result.job_id == Job.id)
        .where(*about.of(Job))
        .order_by(Result.job_id, Result.rank)
    )
    return _rows(session, query, about)


def inputs(session: Session, about: About) -> list[Row]:
    """Give the instances that jobs were made from, by UID and digest."""
    query = (
        select(JobInput.job_id, JobInput.sop_instance_uid, JobInput.sha256, Instance.received_at, Instance.peer)
        .join(Job, JobInput.job_id == Job.id)
        .join(Instance, JobInput.sop_instance_uid == Instance.sop_instance_uid)
        .where(*about.of(Job))
        .order_by(JobInput.job_id, JobInput.sop_instance_uid)
    )
    return _rows(session, query, about)


def models(session: Session, about: About) -> list[Row]:
    """Give application, version, weights and settings of jobs."""
    columns = (Job.id.label("job_id"), Job.application, Job.version, Job.route, Job.key, Job.started_at, Job.plan)
    found = _rows(session, select(*columns).where(*about.of(Job)).order_by(Job.id), about)
    return [row | {"weights": (row["plan"] or {}).get("weights")} for row in found]


def ways(session: Session, about: About) -> list[Row]:
    """Give each attempt to send, each answer, and each word on storage commitment."""
    details = [Event.details[name].as_string().label(name) for name in ("attempt", "status", "detail")]
    columns = Event.at, Event.job_id, Event.event, Event.peer.label("destination"), Event.sop_instance_uid, *details
    query = select(*columns).where(Event.event.in_(WAYS), *about.of(Event)).order_by(Event.seq)
    return _rows(session, query, about)


def recall(session: Session, about: About) -> list[Row]:
    """Give the results of one version or model, in a span of time, and whose they are."""
    query = (
        select(
            Job.finished_at,
            Job.accession_number,
            Job.patient_id,
            Job.study_instance_uid,
            Job.id.label("job_id"),
            Job.application,
            Job.version,
            Result.role,
            Result.sop_instance_uid,
        )
        .join(Result, Result.job_id == Job.id)
        .where(*about.of(Job, Job.finished_at))
        .order_by(Job.finished_at, Job.id, Result.rank)
    )
    return _rows(session, query, about)


def revisions(session: Session, about: About) -> list[Row]:
    """Give jobs that had less than has come of their series, and jobs that superseded, or were, others."""
    later, used = aliased(Job), select(func.count()).where(JobInput.job_id == Job.id).scalar_subquery()
    query = (
        select(
            Job.id.label("job_id"),
            Job.created_at,
            Job.accession_number,
            Job.series_instance_uid,
            Job.state,
            Job.closed_by,
            used.label("images_used"),
            Series.instances.label("images_now"),
            Job.supersedes_id.label("supersedes"),
            later.id.label("superseded_by"),
        )
        .join(Series, Job.series_instance_uid == Series.series_instance_uid)
        .outerjoin(later, later.supersedes_id == Job.id)
        .where(or_(Job.supersedes_id.is_not(None), later.id.is_not(None), used < Series.instances))
        .where(*about.of(Job, Job.created_at))
        .order_by(Job.id, later.id)
    )
    return _rows(session, query, about)


def fruitless(session: Session, about: About) -> list[Row]:
    """Give series that no job was completed of: the newest job's reason, or why no route took it."""
    own = Job.series_instance_uid == Series.series_instance_uid
    newest, line = aliased(Job), Event.series_instance_uid == Series.series_instance_uid
    left = select(Event.details["reason"].as_string()).where(
        line, audit.unindexed(Event.event) == "series not selected"
    )
    query = (
        select(
            Series.last_arrival_at,
            Series.accession_number,
            Series.study_instance_uid,
            Series.series_instance_uid,
            Series.instances,
            Series.closed_at,
            newest.id.label("job_id"),
            newest.state,
            newest.reason,
            newest.detail,
            left.order_by(Event.seq.desc()).limit(1).scalar_subquery().label("not_selected"),
        )
        .outerjoin(newest, newest.id == select(func.max(Job.id)).where(own).correlate(Series).scalar_subquery())
        .where(~select(Job.id).where(own, Job.state == "COMPLETED").exists())
        .where(*about.of(Series, Series.last_arrival_at))
        .order_by(Series.last_arrival_at, Series.series_instance_uid)
    )
    return [row | {"stated": _stated(row)} for row in _rows(session, query, about)]


def _stated(row: Row) -> str:
    """Say why there is no result, as the node would."""
    if row["state"] is not None:
        words = (row.get("reason"), row.get("detail"))
        return f"job {row['state']}" + "".join(f": {word}" for word in words if word)
    if row["not_selected"] is not None:
        return f"not selected: {row['not_selected']}"
    return "still arriving" if row["closed_at"] is None else "none is recorded"


def people(session: Session, about: About) -> list[Row]:
    """Give what users did: looked, retried, cancelled, sent again, logged in, exported, asked."""
    columns = (
        Event.at,
        Event.user,
        Event.event,
        Event.outcome,
        Event.accession_number,
        Event.job_id,
        Event.details,
    )
    is_ones = Event.user > ""  # and not null: this way the index of the column is used
    query = select(*columns).where(is_ones, *about.of(Event, Event.at)).order_by(Event.seq)
    return _rows(session, query, about)


def _rows(session: Session, query: Select[*tuple[Any, ...]], about: About) -> list[Row]:
    """Give one row more than the limit, if there are so many: who asks is to know that more is there."""
    found: Sequence[Any] = session.execute(query.limit(about.limit + 1)).mappings().all()
    return [dict(row) for row in found]
