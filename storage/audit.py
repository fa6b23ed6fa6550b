"""The audit trail: one line an event, written in the transaction of the change it tells of, chained by digests."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import Session, aliased

from storage import chain, weights
from storage.chain import Broken
from storage.schema import AuditHead, Event, Job, Series

_HEAD = "head of the audit trail"  # of a session: one transaction, in which nobody else writes
Outcome = Literal["success", "refused", "failure"]
_INSERT = insert(Event.__table__)  # type: ignore[arg-type]
_LINE = [getattr(Event, name) for name in ("seq", "previous", "digest", "at", *chain.WORDS, "details")]
_NONE = chain.Part(0, chain.ORIGIN, 0, chain.ORIGIN)
BATCH = 1000
_BROAD = {"event", "peer"}


def record(
    session: Session,
    event: str,
    *,
    now: float,
    actor: str,
    outcome: Outcome = "success",
    details: dict[str, Any] | None = None,
    **keys: Any,
) -> None:
    """Add one line to the trail; ``keys`` as of ``line``."""
    record_all(session, [line(event, now=now, actor=actor, outcome=outcome, details=details, **keys)])


def line(
    event: str,
    *,
    now: float,
    actor: str,
    outcome: Outcome = "success",
    details: dict[str, Any] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Make one line, not yet in the chain.

    ``keys`` are the columns by which the line is found: peer, patient_id, accession_number, study_instance_uid,
    series_instance_uid, sop_instance_uid, job_id, user.
    """
    words = {"at": now, "event": event, "outcome": outcome, "actor": actor, "details": details or {}}
    return dict.fromkeys(chain.KEYS) | words | keys


def record_all(session: Session, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines to the trail in their order, in one statement."""
    head = session.info.get(_HEAD) or _take_head(session)
    for one in lines:
        one["previous"] = head.digest
        words = [one[name] for name in chain.WORDS]
        head.digest = one["digest"] = chain.digest_of(head.digest, one["at"], words, one["details"])
    if lines:
        session.connection().execute(_INSERT, lines)


def _take_head(session: Session) -> AuditHead:
    """Give the end of the chain, which is this transaction's alone, as ``Database.write`` sees to."""
    head = session.get(AuditHead, 1)
    if head is None:
        head = AuditHead(id=1, digest=chain.ORIGIN)
        session.add(head)
    session.info[_HEAD] = head
    return head


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
    """Digest a line, and with it all before it."""
    return chain.digest_of(line.previous, line.at, [getattr(line, name) for name in chain.WORDS], line.details)


def verify(session: Session) -> chain.Part:
    """Walk the whole chain; a long one in SQLite by a process on each core.

    Who writes number and digest of the last line down elsewhere can later tell a trail that was written anew.

    Raises
    ------
    Broken
        A line was changed, put in, taken out or moved, or lines are missing at the end.
    """
    part = _walk_sqlite(session) if session.get_bind().dialect.name == "sqlite" else _walk(session)
    if part.previous != chain.ORIGIN:
        raise Broken("the audit trail does not begin with its first line: some were taken out")
    if part.digest != _end(session):
        raise Broken(f"the audit trail should not end at line {part.last}: lines were cut off or put on")
    return part


def _walk(session: Session) -> chain.Part:
    query = select(*_LINE).order_by(Event.seq)
    return chain.follow(session.connection().execution_options(yield_per=BATCH).execute(query), _NONE)


def _walk_sqlite(session: Session) -> chain.Part:
    connection = session.connection()
    last = session.scalar(select(func.max(Event.seq))) or 0
    can_write = not connection.exec_driver_sql("PRAGMA query_only").scalar()  # and may hold what others do not see yet
    processes = 1 if can_write else min(len(os.sched_getaffinity(0)), last // chain.WORTH_A_PROCESS)
    if processes > 1:
        return chain.walk_by_several(Path(str(connection.engine.url.database)), last, processes) or _NONE
    return chain.walk(cast("sqlite3.Connection", connection.connection.driver_connection), 1, last) or _NONE


def verify_some(session: Session, *wanted: ColumnElement[bool]) -> chain.Part:
    """Look at some lines and their links to both sides; give how many, and number and digest of the last one.

    Who wrote the trail anew from one of them on is found where that ends: by ``verify``.

    Raises
    ------
    Broken
        One of them was changed, or one beside them put in, taken out or moved.
    """
    part, head = _NONE, _end(session)
    before, after = aliased(Event), aliased(Event)
    previous = select(before.seq).where(before.seq < Event.seq).order_by(before.seq.desc()).limit(1)
    following = select(after.previous).where(after.seq > Event.seq).order_by(after.seq).limit(1)
    query = (
        select(before.seq, before.digest, following.scalar_subquery(), *_LINE)
        .outerjoin(before, before.seq == previous.correlate(Event).scalar_subquery())
        .where(*wanted)
        .order_by(Event.seq)
    )
    for before_seq, before_digest, follows, *row in session.execute(query):
        seq, _, digest, *_ = row
        chain.check(row, before_seq or 0, before_digest or chain.ORIGIN)
        if (follows or head) != digest:
            raise Broken(f"what follows line {seq} of the audit trail does not fit it: some were taken out or put in")
        part = chain.Part(part.lines + 1, chain.ORIGIN, seq, digest)
    return part


def _end(session: Session) -> str:
    head = session.get(AuditHead, 1)
    return head.digest if head is not None else chain.ORIGIN


def search(
    session: Session, *, since: float | None, until: float | None, limit: int, after: int | None = None, **keys: Any
) -> Sequence[Event]:
    """Find lines after one, oldest first; ``keys`` are exact values of the columns, and ``model`` as in weights.py."""
    query = select(Event).order_by(Event.seq).limit(limit)
    wanted = {key: value for key, value in keys.items() if value is not None}
    model = wanted.pop("model", None)
    is_narrow = bool(set(wanted) - _BROAD)
    if model is not None:
        theirs, first = weights.lines_of(session, model)
        query = query.where(theirs)
        is_narrow |= first is None
        if first is not None and since is None:  # else the time is what narrows
            after = max(after or 0, first - 1)
    if after is not None:
        query = query.where(Event.seq > after)
    if since is not None:
        query = query.where(Event.at >= since)
    if until is not None:
        query = query.where(Event.at < until)
    for key, value in wanted.items():
        column = getattr(Event, key)
        query = query.where((unindexed(column) if is_narrow and key in _BROAD else column) == value)
    return session.scalars(query).all()


def unindexed(column: Any) -> ColumnElement[str]:
    """Give a column of few values so that its index, which leads to very many lines, is left aside for another's."""
    return func.coalesce(column, "")
