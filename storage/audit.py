"""The audit trail: one line an event, written in the transaction of the change it tells of, chained by digests."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from storage.schema import Event, Job, Series

ORIGIN = "0" * 64
_END = "end of the audit trail"  # of a session: one transaction, in which nobody else writes
_LAST = select(Event.digest).order_by(Event.seq.desc()).limit(1)
_KEYS = (
    "peer",
    "patient_id",
    "accession_number",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "job_id",
    "user",
)


def record(
    session: Session,
    event: str,
    *,
    now: float,
    actor: str,
    outcome: Literal["success", "refused", "failure"] = "success",
    details: dict[str, Any] | None = None,
    **keys: Any,
) -> Event:
    """Add one line to the trail.

    ``keys`` are the columns by which the line is found: peer, patient_id, accession_number, study_instance_uid,
    series_instance_uid, sop_instance_uid, job_id, user.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(4711)"))  # the chain has one end
    previous = session.info.get(_END) or session.scalar(_LAST) or ORIGIN
    line = Event(at=now, event=event, outcome=outcome, actor=actor, details=details or {}, previous=previous, **keys)
    session.info[_END] = line.digest = digest_of(line)
    session.add(line)
    return line


def keys_of(about: Series | Job) -> dict[str, Any]:
    """Give the words by which the trail finds a series or a job."""
    keys = {
        "patient_id": about.patient_id,
        "accession_number": about.accession_number,
        "study_instance_uid": about.study_instance_uid,
        "series_instance_uid": about.series_instance_uid,
    }
    return keys | {"job_id": about.id} if isinstance(about, Job) else keys


def digest_of(line: Event) -> str:
    """Digest a line with its predecessor's digest, over canonical JSON."""
    words = [
        line.previous,
        line.at,
        line.event,
        line.outcome,
        line.actor,
        line.details,
        *(getattr(line, key) for key in _KEYS),
    ]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def search(session: Session, *, since: float | None, until: float | None, limit: int, **keys: Any) -> Sequence[Event]:
    """Find lines, oldest first; ``keys`` are exact values of the columns, and ``event``."""
    query = select(Event).order_by(Event.seq).limit(limit)
    if since is not None:
        query = query.where(Event.at >= since)
    if until is not None:
        query = query.where(Event.at < until)
    return session.scalars(query.filter_by(**{key: value for key, value in keys.items() if value is not None})).all()
