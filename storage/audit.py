"""The audit trail: one line an event, written in the transaction of the change it tells of, chained by digests."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, insert, select, text
from sqlalchemy.orm import Session, aliased

from storage.schema import AuditHead, Event, Job, Series

ORIGIN = "0" * 64
_HEAD = "head of the audit trail"  # of a session: one transaction, in which nobody else writes
_WORDS = ("previous", "at", "event", "outcome", "actor", "details")
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


Outcome = Literal["success", "refused", "failure"]
_INSERT = insert(Event.__table__)  # type: ignore[arg-type]
_LINE = [getattr(Event, name) for name in ("seq", *_WORDS, *_KEYS, "digest")]
_canonical = json.JSONEncoder(sort_keys=True).encode
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
    return dict.fromkeys(_KEYS) | words | keys


def record_all(session: Session, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines to the trail in their order, in one statement."""
    head = session.info.get(_HEAD) or _take_head(session)
    for one in lines:
        one["previous"] = head.digest
        head.digest = one["digest"] = _digest(one)
    if lines:
        session.connection().execute(_INSERT, lines)


def _take_head(session: Session) -> AuditHead:
    """Give the end of the chain, which is this transaction's alone."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(4711)"))
    head = session.get(AuditHead, 1)
    if head is None:
        head = AuditHead(id=1, digest=ORIGIN)
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
    """Digest a line with its predecessor's digest, over canonical JSON."""
    return _digest({name: getattr(line, name) for name in (*_WORDS, *_KEYS)})


def _digest(line: Mapping[str, Any]) -> str:
    return _digest_of([line[name] for name in (*_WORDS, *_KEYS)])


def _digest_of(words: Sequence[Any]) -> str:
    return hashlib.sha256(_canonical(words).encode()).hexdigest()


class Broken(Exception):
    """The trail was changed after it was written."""


def verify(session: Session) -> tuple[int, int, str]:
    """Walk the whole chain; give the number of lines, and number and digest of the last.

    Who writes these down elsewhere can later tell a trail that was written anew as a whole.

    Raises
    ------
    Broken
        A line was changed, put in, taken out or moved, or lines are missing at the end.
    """
    lines, last, end = 0, 0, ORIGIN
    query = select(*_LINE).order_by(Event.seq)
    for seq, *words, digest in session.connection().execution_options(yield_per=BATCH).execute(query):
        _check(seq, words, digest, last, end)
        lines, last, end = lines + 1, seq, digest
    if end != _end(session):
        raise Broken(f"the audit trail should not end at line {last}: lines were cut off or put on")
    return lines, last, end


def verify_some(session: Session, *wanted: ColumnElement[bool]) -> tuple[int, int, str]:
    """Look at some lines and their links to both sides; give what ``verify`` gives.

    Who wrote the trail anew from one of them on is found where that ends: by ``verify``.

    Raises
    ------
    Broken
        One of them was changed, or one beside them put in, taken out or moved.
    """
    lines, last, end, head = 0, 0, ORIGIN, _end(session)
    before, after = aliased(Event), aliased(Event)
    previous = select(before.seq).where(before.seq < Event.seq).order_by(before.seq.desc()).limit(1)
    following = select(after.previous).where(after.seq > Event.seq).order_by(after.seq).limit(1)
    query = (
        select(*_LINE, before.seq, before.digest, following.scalar_subquery())
        .outerjoin(before, before.seq == previous.correlate(Event).scalar_subquery())
        .where(*wanted)
        .order_by(Event.seq)
    )
    for seq, *words, digest, before_seq, before_digest, follows in session.execute(query):
        _check(seq, words, digest, before_seq or 0, before_digest or ORIGIN)
        if (follows or head) != digest:
            raise Broken(f"what follows line {seq} of the audit trail does not fit it: some were taken out or put in")
        lines, last, end = lines + 1, seq, digest
    return lines, last, end


def _check(seq: int, words: Sequence[Any], digest: str, last: int, end: str) -> None:
    if words[0] != end:
        raise Broken(f"line {seq} of the audit trail does not follow line {last}: some were taken out or put in")
    if _digest_of(words) != digest:
        raise Broken(f"line {seq} of the audit trail was changed after it was written")


def _end(session: Session) -> str:
    head = session.get(AuditHead, 1)
    return head.digest if head is not None else ORIGIN


def search(
    session: Session, *, since: float | None, until: float | None, limit: int, after: int | None = None, **keys: Any
) -> Sequence[Event]:
    """Find lines after one, oldest first; ``keys`` are exact values of the columns, and ``event``."""
    query = select(Event).order_by(Event.seq).limit(limit)
    if after is not None:
        query = query.where(Event.seq > after)
    if since is not None:
        query = query.where(Event.at >= since)
    if until is not None:
        query = query.where(Event.at < until)
    wanted = {key: value for key, value in keys.items() if value is not None}
    is_narrow = bool(set(wanted) - _BROAD)
    for key, value in wanted.items():
        column = getattr(Event, key)
        query = query.where((unindexed(column) if is_narrow and key in _BROAD else column) == value)
    return session.scalars(query).all()


def unindexed(column: Any) -> ColumnElement[str]:
    """Give a column of few values so that its index, which leads to very many lines, is left aside for another's."""
    return func.coalesce(column, "")
