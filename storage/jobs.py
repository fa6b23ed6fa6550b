"""The shelf JOBS: schedule, claim, keep, finish.

A claim is a lease with a fencing token: a worker that lost it can change nothing any more. Recovery of a dead
worker's job is in the claim itself, so no sweeper can stall.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, aliased, selectinload

from storage import audit, deliveries, weights
from storage.schema import JOB_STATES, Delivery, Job, JobInput, Result

MOVES = {
    "SCHEDULED": {"IN PROGRESS", "CANCELED", "FAILED"},
    "IN PROGRESS": {"COMPLETED", "FAILED", "SCHEDULED", "CANCELED"},
    "COMPLETED": set(),
    "FAILED": {"SCHEDULED"},
    "CANCELED": {"SCHEDULED"},
}
"""Which state may follow which (PS3.4 CC.1.1, and our retry)."""


class NotNow(Exception):
    """The job is not in a state from which this move leads."""


class LostLease(Exception):
    """Another worker has the job: what this one made is dropped."""


@dataclass(frozen=True)
class Lease:
    """The right of one worker to one job until it lapses."""

    job_id: int
    token: int


def _next() -> Select[Job]:
    before = aliased(Job)  # the predecessor, or its own, if that was cancelled while it waited
    is_of_the_series = and_(
        before.series_instance_uid == Job.series_instance_uid,
        before.application == Job.application,
        before.is_shadow == Job.is_shadow,
        or_(Job.is_shadow.is_(False), before.route == Job.route),
    )
    is_before = select(before.id).where(
        is_of_the_series, before.id < Job.id, before.state.in_(("SCHEDULED", "IN PROGRESS"))
    )
    waiting = and_(Job.state == "SCHEDULED", Job.not_before <= bindparam("now"))
    orphaned = and_(Job.state == "IN PROGRESS", Job.lease_until < bindparam("now"))
    return (
        select(Job)
        .where(or_(waiting, orphaned))
        .where(~is_before.exists())
        .order_by(Job.is_shadow, Job.priority.desc(), Job.id)
        .limit(1)
        .options(selectinload(Job.inputs))
        .with_for_update(skip_locked=True, of=Job)
    )


_NEXT = _next()  # asked at every turn of a worker: to lay it out anew takes longer than to run it


def schedule(session: Session, job: Job, inputs: Iterable[tuple[str, str]]) -> Job | None:
    """Put a job on the shelf; give None if its key is already there.

    ``inputs`` are (SOP Instance UID, SHA-256). An earlier job of the same series and application is superseded: if
    it has not begun, it is cancelled. A shadow route's supersede its own alone.
    """
    if session.scalar(select(Job.id).filter_by(key=job.key)) is not None:
        return None
    shadow = job.route if job.is_shadow else None
    earlier = latest(session, job.series_instance_uid, job.application, shadow)
    if earlier is not None:
        job.supersedes_id = earlier.id
        if earlier.state == "SCHEDULED":
            _move(session, earlier, "CANCELED", now=job.created_at, actor="assemble", reason="Superseded")
    session.add(job)
    session.flush()
    session.add_all(JobInput(job_id=job.id, sop_instance_uid=uid, sha256=sha256) for uid, sha256 in inputs)
    weights.write_down(session, job)
    details = {
        "application": job.application,
        "version": job.version,
        "route": job.route,
        "supersedes": job.supersedes_id,
    }
    audit.record(session, "job scheduled", now=job.created_at, actor="assemble", details=details, **audit.keys_of(job))
    return job


def claim(session: Session, owner: str, *, lease_s: float, now: float) -> tuple[Job, Lease] | None:
    """Lease the most urgent job that waits or has lost its worker; a revision waits for its predecessor's end.

    A shadow route's job waits for all that are sent.
    """
    job = session.scalar(_NEXT, {"now": now})
    if job is None:
        return None
    was = job.state
    job.state, job.owner, job.lease_until = "IN PROGRESS", owner, now + lease_s
    job.token, job.attempts = job.token + 1, job.attempts + 1
    job.started_at, job.step, job.progress = now, None, 0.0
    details = {
        "attempt": job.attempts,
        "after": "lost lease" if was == "IN PROGRESS" else was,
        "application": job.application,
        "version": job.version,
        "weights": weights.of_job(job),
    }
    audit.record(session, "job claimed", now=now, actor=owner, details=details, **audit.keys_of(job))
    return job, Lease(job.id, job.token)


def keep(session: Session, lease: Lease, *, lease_s: float, now: float, step: str | None, progress: float) -> None:
    """Prolong a lease and show how far the job is; raise ``LostLease``."""
    change = update(Job).where(Job.id == lease.job_id, Job.token == lease.token, Job.state == "IN PROGRESS")
    result = session.execute(change.values(lease_until=now + lease_s, step=step, progress=progress))
    if not isinstance(result, CursorResult) or result.rowcount != 1:
        raise LostLease(f"job {lease.job_id}: the lease {lease.token} is no longer ours")


def finish(
    session: Session,
    lease: Lease,
    state: str,
    results: Sequence[Result],
    *,
    now: float,
    outcome: dict[str, Any],
    reason: str | None = None,
    detail: str | None = None,
    left_out: Mapping[str, Collection[str]] | None = None,
) -> None:
    """End a job with its results and their deliveries, all or nothing; raise ``LostLease``.

    A result that an earlier attempt has put there already stays; the objects are the same by UID. ``left_out`` names
    the SOP classes that a destination is not sent.
    """
    job = _held(session, lease)
    job.outcome, job.progress = outcome, 1.0
    owner = job.owner or "work"
    for result in results:
        if session.get(Result, result.sop_instance_uid) is not None:
            continue
        session.add(result)
        details = {"role": result.role, "sop_class_uid": result.sop_class_uid, "sha256": result.sha256}
        keys = audit.keys_of(job) | {
            "series_instance_uid": result.series_instance_uid,
            "sop_instance_uid": result.sop_instance_uid,
        }
        audit.record(session, "result created", now=now, actor=owner, details=details, **keys)
    session.flush()
    for destination in job.destinations:
        unwanted = (left_out or {}).get(destination, ())
        sent = [result for result in results if result.sop_class_uid not in unwanted]
        deliveries.enqueue(session, job, sent, destination, now=now)
    _move(session, job, state, now=now, actor=owner, reason=reason, detail=detail)


def give_back(
    session: Session,
    lease: Lease,
    *,
    now: float,
    wait_s: float,
    reason: str,
    detail: str,
    is_error: bool,
    is_crash: bool = False,
) -> None:
    """Return a job to the shelf for a later attempt; raise ``LostLease``."""
    job = _held(session, lease)
    job.errors += is_error
    job.crash_count += is_crash
    job.not_before = now + wait_s
    _move(session, job, "SCHEDULED", now=now, actor=job.owner or "work", reason=reason, detail=detail)


def give_up(session: Session, lease: Lease, *, now: float, reason: str, detail: str) -> None:
    """End a job that can have no result; raise ``LostLease``."""
    job = _held(session, lease)
    _move(session, job, "FAILED", now=now, actor=job.owner or "work", reason=reason, detail=detail)


def hold(session: Session, job: Job, *, now: float, reason: str, detail: str) -> None:
    """End a job before it begins, for good: no worker claims it, and no retry."""
    job.is_held = True
    _move(session, job, "FAILED", now=now, actor="assemble", reason=reason, detail=detail)


def retry(session: Session, job_id: int, *, now: float, user: str) -> Job:
    """Put a failed or cancelled job on the shelf again, and resume what of its results is parked; raise ``NotNow``."""
    job = get(session, job_id)
    if job.is_held:
        raise NotNow(f"job {job_id} is held ({job.reason}): {job.detail}")
    parked = [delivery for delivery in deliveries_of(session, job_id) if delivery.state == "parked"]
    for delivery in parked:
        deliveries.send_again(session, delivery, now=now, user=user)
    if job.state in ("FAILED", "CANCELED"):
        job.attempts, job.errors, job.crash_count, job.not_before = 0, 0, 0, 0.0
        _move(session, job, "SCHEDULED", now=now, actor="operator", user=user)
    elif not parked:
        raise NotNow(f"job {job_id} is {job.state} and none of its deliveries is parked: there is nothing to retry")
    return job


def cancel(session: Session, job_id: int, *, now: float, user: str) -> Job:
    """Cancel a job that has not ended; a worker that has it will find its lease lost; raise ``NotNow``."""
    job = get(session, job_id)
    if job.state not in ("SCHEDULED", "IN PROGRESS"):
        raise NotNow(f"job {job_id} is {job.state}; only a SCHEDULED or IN PROGRESS job can be cancelled")
    job.token += 1
    _move(session, job, "CANCELED", now=now, actor="operator", user=user, reason="Canceled")
    return job


def get(session: Session, job_id: int) -> Job:
    """Give one job with its inputs and results; raise ``NotNow`` if there is none."""
    job = find(session, job_id)
    if job is None:
        raise NotNow(f"there is no job {job_id}")
    return job


def latest(session: Session, series_instance_uid: str, application: str, shadow: str | None = None) -> Job | None:
    """Give the newest job of a series and application that was not cancelled: a live one, or one of a shadow route."""
    of = {"is_shadow": False} if shadow is None else {"is_shadow": True, "route": shadow}
    query = select(Job).filter_by(series_instance_uid=series_instance_uid, application=application, **of)
    return session.scalar(query.where(Job.state != "CANCELED").order_by(Job.id.desc()).limit(1))


def earlier_results(session: Session, job: Job, role: str) -> list[Result]:
    """List, newest first, what this job, before a retry, and those that it supersedes have given in a role."""
    found: list[Result] = []
    before: int | None = job.id
    while before is not None:
        query = select(Result).filter_by(job_id=before, role=role).order_by(Result.created_at.desc())
        found += session.scalars(query)
        before = session.get_one(Job, before).supersedes_id
    return found


def find(session: Session, job_id: int) -> Job | None:
    """Give one job with its inputs and results, None if there is none."""
    query = select(Job).filter_by(id=job_id).options(selectinload(Job.inputs), selectinload(Job.results))
    return session.scalar(query.execution_options(populate_existing=True))


def listing(
    session: Session,
    *,
    since: float | None = None,
    until: float | None = None,
    before: int | None = None,
    limit: int = 100,
    **keys: Any,
) -> Sequence[Job]:
    """List jobs, newest first, of an id below ``before``; ``keys`` are exact values of columns, None: any."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if since is not None:
        query = query.where(Job.created_at >= since)
    if until is not None:
        query = query.where(Job.created_at < until)
    if before is not None:
        query = query.where(Job.id < before)
    return session.scalars(query.filter_by(**{key: value for key, value in keys.items() if value is not None})).all()


def counts(session: Session) -> dict[str, int]:
    """Count the jobs of each state."""
    found = session.execute(select(Job.state, func.count().label("lines")).group_by(Job.state))
    return dict.fromkeys(JOB_STATES, 0) | {row.state: row.lines for row in found}


def failed_without_report(session: Session, since: float) -> dict[str, int]:
    """Count, by reason, the live jobs that ended since a time without a result, and are not quarantined."""
    given = select(Result.sop_instance_uid).where(Result.job_id == Job.id)
    query = select(Job.reason, func.count()).where(Job.state == "FAILED", Job.is_shadow.is_(False), ~given.exists())
    query = query.where(Job.finished_at >= since, Job.reason != "Quarantined").group_by(Job.reason)
    return {str(reason): count for reason, count in session.execute(query)}


def waiting_since(session: Session) -> float | None:
    """Give when the job that waits longest was scheduled; a shadow route's wait for all others, and are not late."""
    waiting = select(func.min(Job.created_at)).where(Job.state == "SCHEDULED", Job.is_shadow.is_(False))
    return session.scalar(waiting)


def kept_attempts(session: Session, job_ids: Collection[int]) -> set[str]:
    """Name, as "job/token", the attempts of some jobs that run, or whose results the ledger names."""
    running = select(Job.id, Job.token).where(Job.id.in_(job_ids), Job.state == "IN PROGRESS")
    named = select(Result.path).where(Result.job_id.in_(job_ids))
    kept = {f"{job_id}/{token}" for job_id, token in session.execute(running)}
    return kept | {path.rpartition("/")[0] for path in session.scalars(named)}


def deliveries_of(session: Session, job_id: int) -> Sequence[Delivery]:
    """List where the results of a job are on their way."""
    query = select(Delivery).filter_by(job_id=job_id).order_by(Delivery.id).options(selectinload(Delivery.result))
    return session.scalars(query).all()


def _held(session: Session, lease: Lease) -> Job:
    query = select(Job).filter_by(id=lease.job_id, token=lease.token, state="IN PROGRESS").with_for_update()
    job = session.scalar(query)
    if job is None:
        raise LostLease(f"job {lease.job_id}: the lease {lease.token} is no longer ours")
    return job


def _move(
    session: Session,
    job: Job,
    state: str,
    *,
    now: float,
    actor: str,
    user: str | None = None,
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    if state not in MOVES[job.state]:
        raise NotNow(f"job {job.id} cannot go from {job.state} to {state}")
    was, job.state, job.reason, job.detail = job.state, state, reason, detail and detail[:1000]
    job.owner, job.lease_until = None, None
    if state != "SCHEDULED":
        job.finished_at = now
    details = {"was": was, "reason": reason, "detail": job.detail}
    outcome: Any = "failure" if state == "FAILED" else "success"
    event = f"job {state.lower()}"
    audit.record(
        session, event, now=now, actor=actor, user=user, outcome=outcome, details=details, **audit.keys_of(job)
    )
