"""Which weights computed which job, so that all cases of a model are found again: a recall begins here.

A model is asked for by the name of its weights or by their SHA-256, in hexadecimal digits.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from storage.schema import Event, Job, JobWeights

CHANGES = ("weights imported", "weights removed")
FEW = 1000
"""The lines of so many jobs are looked up; for those of more the trail is read."""


def of_job(job: Job) -> dict[str, str]:
    """Give the SHA-256 of each of the weights that a job computes with, by name, as its plan says."""
    named = job.plan.get("weights")
    pairs = named.items() if isinstance(named, dict) else ()  # a plug-in may mean something else by the word
    return {name: sha256 for name, sha256 in pairs if isinstance(sha256, str)}


def write_down(session: Session, job: Job) -> None:
    """Keep the weights of a job that was put on the shelf."""
    session.add_all(JobWeights(job_id=job.id, name=name, sha256=sha256) for name, sha256 in of_job(job).items())


def jobs_of(model: str) -> Select[int]:
    """Select the jobs that compute with some weights."""
    return select(JobWeights.job_id).where(or_(JobWeights.sha256 == model, JobWeights.name == model))


def are_of(model: str, job_id: Any) -> ColumnElement[bool]:
    """Give the condition that a column names a job of some weights; it is asked row by row, never of all jobs."""
    return jobs_of(model).where(JobWeights.job_id == job_id).exists()


def lines_of(session: Session, model: str) -> tuple[ColumnElement[bool], int | None]:
    """Give the condition on the audit trail's lines: of the jobs of some weights, and of their import and removal.

    With it the first of them, where they are so many that the trail is to be read from there.
    """
    jobs = jobs_of(model)
    named = [Event.details[key].as_string() == model for key in ("name", "sha256")]
    changes = session.scalars(select(Event.seq).where(Event.event.in_(CHANGES), or_(*named))).all()
    few = session.scalars(jobs.limit(FEW + 1)).all()
    if len(few) <= FEW:
        return or_(Event.seq.in_(changes), Event.job_id.in_(few)), None
    earliest = select(func.min(jobs.subquery().c.job_id)).scalar_subquery()
    first = session.scalars(select(func.min(Event.seq)).where(Event.job_id == earliest)).one()
    begin = min([first or 1, *changes])  # 1: its lines were taken out
    return or_(Event.seq.in_(changes), are_of(model, Event.job_id)), begin
