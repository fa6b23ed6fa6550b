"""Which studies' files may go, and the only function that lets them go; rows and the audit trail stay.

Nothing that is not delivered goes: each job of the study has ended, and each delivery is sent, or committed where its
destination promises commitment. A parked delivery keeps its study for ever. What a shadow route gave is compared with
the live result first; then its files may go with those of the study, for the figures stay.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from storage import audit
from storage.schema import Comparison, Delivery, Instance, Job, Result, Series


def oldest(
    session: Session, *, before: float, committing: Collection[str] = (), is_delivered: bool = False
) -> str | None:
    """Name the study whose last instance came longest ago, before a time, and whose files may go.

    ``committing`` are the destinations that must have committed to what they got since they do so. With
    ``is_delivered`` a job without any delivery, as one that failed without a report or a shadow route's that nothing
    live stands beside, keeps its study.
    """
    study = Series.study_instance_uid
    has_files = select(Instance).where(Instance.study_instance_uid == study, Instance.deleted_at.is_(None)).exists()
    jobs = select(Job).where(Job.study_instance_uid == study)
    under_way = jobs.where(Job.state.in_(("SCHEDULED", "IN PROGRESS"))).exists()
    unasked = and_(Delivery.commitment_due_at.is_(None), Delivery.transaction_uid.is_(None))  # of before it committed
    arrived = and_(Delivery.state == "sent", or_(Delivery.destination.not_in(list(committing)), unasked))
    is_done = or_(arrived, Delivery.state.in_(("committed", "superseded")))
    undelivered = jobs.join(Delivery, Delivery.job_id == Job.id).where(~is_done).exists()
    of_job = select(Comparison).where(Comparison.shadow_job_id == Job.id)
    uncompared = jobs.where(Job.is_shadow.is_(True), Job.state != "CANCELED", ~of_job.exists()).exists()
    query = (
        select(study)
        .where(has_files, ~under_way, ~undelivered, ~uncompared)
        .group_by(study)
        .having(func.max(Series.last_arrival_at) < before, func.count(Series.closed_at) == func.count())
        .order_by(func.max(Series.last_arrival_at), study)
        .limit(1)
    )
    if is_delivered:
        sent = select(Delivery).where(Delivery.job_id == Job.id).exists()
        beside = of_job.where(Comparison.live_job_id.is_not(None)).exists()
        query = query.where(~jobs.where(Job.state != "CANCELED", ~sent, ~beside).exists())
    return session.scalar(query)


def let_go(session: Session, study_instance_uid: str, why: str, *, now: float) -> tuple[list[Instance], list[Result]]:
    """Write down that the files of a study go, one event each, and give whose files those are."""
    kept = select(Instance).where(Instance.study_instance_uid == study_instance_uid, Instance.deleted_at.is_(None))
    instances = list(session.scalars(kept.order_by(Instance.sop_instance_uid).with_for_update()))
    made = select(Result).join(Job, Result.job_id == Job.id).where(Job.study_instance_uid == study_instance_uid)
    results = list(session.scalars(made.where(Result.deleted_at.is_(None)).order_by(Result.sop_instance_uid)))
    for instance in instances:
        series = session.get_one(Series, instance.series_instance_uid)
        _tell(session, instance, "instance deleted", why, now, **audit.keys_of(series))
    for result in results:
        keys = audit.keys_of(session.get_one(Job, result.job_id)) | {"series_instance_uid": result.series_instance_uid}
        _tell(session, result, "result deleted", why, now, **keys)
    return instances, results


def _tell(session: Session, gone: Instance | Result, event: str, why: str, now: float, **keys: Any) -> None:
    gone.deleted_at = now
    details = {"why": why, "sha256": gone.sha256}
    uid = gone.sop_instance_uid
    audit.record(session, event, now=now, actor="retain", details=details, sop_instance_uid=uid, **keys)
