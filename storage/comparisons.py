"""What jobs of shadow routes gave beside the live ones of the same images: what is to be compared yet, and figures."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased, selectinload

from storage import audit
from storage.schema import Comparison, Job

ENDED = ("COMPLETED", "FAILED")


@dataclass(frozen=True)
class Pair:
    """One comparison with the shadow route, application and series that it is about."""

    comparison: Comparison
    route: str
    application: str
    series_instance_uid: str
    study_instance_uid: str


def due(session: Session) -> Job | None:
    """Give the oldest shadow job that has ended and was not compared since, and whose series has no live job left."""
    live = aliased(Job)
    is_under_way = select(live.id).where(
        live.series_instance_uid == Job.series_instance_uid,
        live.is_shadow.is_(False),
        live.state.in_(("SCHEDULED", "IN PROGRESS")),
    )
    beside = aliased(Job)
    is_new = or_(beside.finished_at.is_(None), Comparison.compared_at >= beside.finished_at)
    compared = (
        select(Comparison.shadow_job_id)
        .outerjoin(beside, Comparison.live_job_id == beside.id)
        .where(Comparison.shadow_job_id == Job.id, Comparison.compared_at >= Job.finished_at, is_new)
    )
    query = select(Job).where(Job.is_shadow.is_(True), Job.state.in_(ENDED))
    query = query.where(~compared.exists(), ~is_under_way.exists()).order_by(Job.id).limit(1)
    return session.scalar(query.options(selectinload(Job.inputs), selectinload(Job.results)))


def counterpart(session: Session, shadow: Job) -> Job | None:
    """Give the live job of the same instances that ended last: of the same application, if there is one."""
    query = select(Job).filter_by(series_instance_uid=shadow.series_instance_uid, is_shadow=False)
    query = query.where(Job.state.in_(ENDED)).options(selectinload(Job.inputs), selectinload(Job.results))
    inputs = _inputs(shadow)
    found = [job for job in session.scalars(query.order_by(Job.id.desc())) if _inputs(job) == inputs]
    return next((job for job in found if job.application == shadow.application), found[0] if found else None)


def record(
    session: Session, shadow: Job, live: Job | None, figures: dict[str, Any], *, is_disagreement: bool, now: float
) -> None:
    """Write down what was compared; a job that ran again since is compared anew."""
    words = {"live_job_id": live and live.id, "compared_at": now, "is_disagreement": is_disagreement}
    session.merge(Comparison(shadow_job_id=shadow.id, figures=figures, **words))
    details = {"route": shadow.route, "live": live and live.id, "differs": figures.get("differs", [])}
    audit.record(session, "shadow compared", now=now, actor="compare", details=details, **audit.keys_of(shadow))


def find(session: Session, job_id: int) -> Comparison | None:
    """Give the comparison of a shadow job, or the newest that a live job stands in."""
    of = or_(Comparison.shadow_job_id == job_id, Comparison.live_job_id == job_id)
    return session.scalar(select(Comparison).where(of).order_by(Comparison.compared_at.desc()).limit(1))


def listing(
    session: Session,
    *,
    since: float | None = None,
    until: float | None = None,
    before: int | None = None,
    limit: int = 100,
    is_disagreement: bool | None = None,
    route: str | None = None,
) -> list[Pair]:
    """List comparisons with a live job, newest shadow job first, of an id below ``before``; None: any."""
    query = select(Comparison, Job.route, Job.application, Job.series_instance_uid, Job.study_instance_uid)
    query = query.join(Job, Comparison.shadow_job_id == Job.id).where(Comparison.live_job_id.is_not(None))
    if since is not None:
        query = query.where(Comparison.compared_at >= since)
    if until is not None:
        query = query.where(Comparison.compared_at < until)
    if before is not None:
        query = query.where(Comparison.shadow_job_id < before)
    if is_disagreement is not None:
        query = query.where(Comparison.is_disagreement.is_(is_disagreement))
    if route is not None:
        query = query.where(Job.route == route)
    return [Pair(*row) for row in session.execute(query.order_by(Comparison.shadow_job_id.desc()).limit(limit))]


def counts(session: Session) -> dict[tuple[str, bool], int]:
    """Count the comparisons with a live job by shadow route and whether they disagree."""
    query = select(Job.route, Comparison.is_disagreement, func.count()).join(Job, Comparison.shadow_job_id == Job.id)
    query = query.where(Comparison.live_job_id.is_not(None)).group_by(Job.route, Comparison.is_disagreement)
    return {(route, is_disagreement): count for route, is_disagreement, count in session.execute(query)}


def _inputs(job: Job) -> list[tuple[str, str]]:
    return [(one.sop_instance_uid, one.sha256) for one in job.inputs]
