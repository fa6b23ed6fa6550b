"""The shelf ARRIVALS: instances that were answered Success, by series, until a series is whole."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from sqlalchemy import Row, bindparam, func, insert, literal_column, select
from sqlalchemy.orm import Session

from storage import audit
from storage.database import Database
from storage.schema import Instance, Series


class Conflict(Exception):
    """The SOP Instance UID is known with other content or in another series, or the series in another study."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One instance that is safe in the spool, with the keys of its series: what the ledger is to hold of it."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    accession_number: str
    sha256: str
    size_bytes: int
    peer: str
    received_at: float
    association_id: str | None = None


Known = tuple[str, str, float | None]  # digest, series, when its file was let go

_INSTANCES, _SERIES = Instance.__table__.c, Series.__table__.c
_COLUMNS = [column.key for column in _INSTANCES if column.key != "deleted_at"]
_VALUES = attrgetter(*_COLUMNS)
_INSERT = insert(Instance.__table__)  # type: ignore[arg-type]
# One statement, for it runs before each answer: one row, whatever is known.
_KNOWN = (
    select(_INSTANCES.sha256, _INSTANCES.series_instance_uid, _INSTANCES.deleted_at, _SERIES.study_instance_uid)
    .select_from(select(literal_column("1")).subquery("asked"))
    .outerjoin(Instance, _INSTANCES.sop_instance_uid == bindparam("uid"))
    .outerjoin(Series, _SERIES.series_instance_uid == bindparam("series"))
)

# As these do at each turn of the assembler.
_CONTENTS = (
    select(_INSTANCES.sop_instance_uid, _INSTANCES.sha256)
    .where(_INSTANCES.series_instance_uid == bindparam("series"))
    .order_by(_INSTANCES.sop_instance_uid)
)
_OPEN = select(Series).where(Series.closed_at.is_(None)).order_by(Series.study_instance_uid, Series.opened_at)


def record(session: Session, arrived: Sequence[Arrived], *, actor: str) -> list[tuple[Arrived, Conflict]]:
    """Put instances on the shelf, in their order; what is there already, byte for byte, stays as it is.

    The first instance of a series opens it, and a new one of a closed series opens it again. Gives those whose UID is
    taken by other bytes or another series, or whose series by another study: the first ones are kept.
    """
    known, shelves = _known(session, arrived), _shelves(session, arrived)
    new, lines, conflicts = [], [], []
    added: Counter[str] = Counter()
    last: dict[str, float] = {}
    for one in arrived:
        shelf = shelves.get(one.series_instance_uid)
        try:
            state = _judge(one, known.get(one.sop_instance_uid), shelf.study_instance_uid if shelf else None)
        except Conflict as conflict:
            conflicts.append((one, conflict))
            continue
        if state == "kept":
            continue
        if shelf is None:
            shelf = shelves[one.series_instance_uid] = _new_shelf(session, one)
        if state == "let go":
            _take_again(session, one)
        else:
            added[one.series_instance_uid] += 1
            new.append(dict(zip(_COLUMNS, _VALUES(one), strict=True)))
        known[one.sop_instance_uid] = one.sha256, one.series_instance_uid, None
        last[one.series_instance_uid] = one.received_at
        lines.append(_line(one, shelf, actor))
    for uid, now in last.items():
        shelves[uid].instances += added[uid]
        _open(shelves[uid], now=now)
    session.flush()  # the series, before instances that name them
    if new:
        session.connection().execute(_INSERT, new)
    audit.record_all(session, lines)
    return conflicts


def is_known(database: Database, arrived: Arrived) -> bool:
    """Say whether an instance is on the shelf, byte for byte.

    Raises
    ------
    Conflict
        The UID is taken by other bytes or another series, or the series by another study.
    """
    uids = {"uid": arrived.sop_instance_uid, "series": arrived.series_instance_uid}
    sha256, series, deleted_at, study = database.ask(_KNOWN, **uids)
    return _judge(arrived, (sha256, series, deleted_at) if sha256 is not None else None, study) == "kept"


def _judge(one: Arrived, known: Known | None, known_study: str | None) -> Literal["new", "kept", "let go"]:
    if known is not None and known[:2] != (one.sha256, one.series_instance_uid):
        raise Conflict(f"SOP Instance UID {one.sop_instance_uid} is known with other content; the first is kept")
    if known_study not in (None, one.study_instance_uid):
        raise Conflict(f"series {one.series_instance_uid} is known in another study; the first is kept")
    if known is None:
        return "new"
    return "kept" if known[2] is None else "let go"


def _known(session: Session, arrived: Sequence[Arrived]) -> dict[str, Known]:
    columns = _INSTANCES.sop_instance_uid, _INSTANCES.sha256, _INSTANCES.series_instance_uid, _INSTANCES.deleted_at
    query = select(*columns).where(_INSTANCES.sop_instance_uid.in_([one.sop_instance_uid for one in arrived]))
    return {uid: (sha256, series, gone) for uid, sha256, series, gone in session.connection().execute(query)}


def _shelves(session: Session, arrived: Sequence[Arrived]) -> dict[str, Series]:
    query = select(Series).where(Series.series_instance_uid.in_({one.series_instance_uid for one in arrived}))
    return {series.series_instance_uid: series for series in session.scalars(query)}


def _new_shelf(session: Session, one: Arrived) -> Series:
    series = Series(
        series_instance_uid=one.series_instance_uid,
        study_instance_uid=one.study_instance_uid,
        patient_id=one.patient_id,
        accession_number=one.accession_number,
        instances=0,
        opened_at=one.received_at,
        last_arrival_at=one.received_at,
    )
    session.add(series)
    return series


def _take_again(session: Session, one: Arrived) -> None:
    """Take an instance back whose file retention had let go."""
    known = session.get_one(Instance, one.sop_instance_uid)
    known.deleted_at, known.received_at, known.peer = None, one.received_at, one.peer
    known.association_id = one.association_id


def _line(one: Arrived, shelf: Series, actor: str) -> dict[str, Any]:
    return audit.line(
        "instance received",
        now=one.received_at,
        actor=actor,
        details={"sha256": one.sha256, "sop_class_uid": one.sop_class_uid, "size_bytes": one.size_bytes},
        peer=one.peer,
        sop_instance_uid=one.sop_instance_uid,
        **audit.keys_of(shelf),
    )


def see_again(session: Session, sop_instance_uid: str, *, now: float, association_id: str | None = None) -> bool:
    """Open the series of a known instance that came again, so that it is judged again, by who brought it now.

    Give False if retention has just let its file go: then it is as if it had never come.

    The job of the same content has the same key and is not run twice; what could make no job before may make one now.
    """
    instance = session.get_one(Instance, sop_instance_uid, with_for_update=True)
    if instance.deleted_at is not None:
        return False
    instance.association_id = association_id
    _open(session.get_one(Series, instance.series_instance_uid), now=now)
    return True


def _open(series: Series, *, now: float) -> None:
    if series.closed_at is not None:
        series.closed_at, series.closed_by, series.opened_at = None, None, now
    series.last_arrival_at = now


def open_series(session: Session) -> Sequence[Series]:
    """List the series that are still open, by study."""
    return session.scalars(_OPEN).all()


def arriving(session: Session, limit: int) -> Sequence[Series]:
    """List the series that are still open, the one that got something last first."""
    query = select(Series).where(Series.closed_at.is_(None)).order_by(Series.last_arrival_at.desc())
    return session.scalars(query.limit(limit)).all()


def open_since(session: Session) -> tuple[int, float | None]:
    """Count the series that are still open, and say since when the oldest is."""
    query = select(func.count(), func.min(Series.opened_at)).where(Series.closed_at.is_(None))
    count, since = session.execute(query).one()
    return count, since


def series_of_study(session: Session, study_instance_uid: str) -> Sequence[Series]:
    """List every series of a study that has come."""
    query = select(Series).filter_by(study_instance_uid=study_instance_uid).order_by(Series.series_instance_uid)
    return session.scalars(query).all()


def studies_since(session: Session, since: float) -> Sequence[str]:
    """List the studies of which something came since a time, oldest first."""
    last = func.max(Series.last_arrival_at)
    query = select(Series.study_instance_uid).group_by(Series.study_instance_uid).having(last >= since).order_by(last)
    return session.scalars(query).all()


def kept(session: Session) -> Iterable[Row[str, str]]:
    """Give UID and SHA-256 of every instance whose file is kept, a few at a time."""
    query = select(Instance.sop_instance_uid, Instance.sha256).where(Instance.deleted_at.is_(None))
    return session.connection().execution_options(yield_per=audit.BATCH).execute(query)


def instances_of_series(session: Session, series_instance_uid: str) -> Sequence[Instance]:
    """List the instances of a series by UID."""
    query = select(Instance).filter_by(series_instance_uid=series_instance_uid).order_by(Instance.sop_instance_uid)
    return session.scalars(query).all()


def contents_of_series(session: Session, series_instance_uid: str) -> Sequence[Row[str, str]]:
    """List UID and SHA-256 of the instances of a series, which costs a tenth of the instances themselves."""
    return session.connection().execute(_CONTENTS, {"series": series_instance_uid}).all()


def close(session: Session, series: Series, evidence: str, *, now: float) -> None:
    """Call a series whole, and say by which evidence."""
    series.closed_at, series.closed_by = now, evidence
    audit.record(
        session,
        "series closed",
        now=now,
        actor="assemble",
        details={"evidence": evidence, "instances": series.instances},
        **audit.keys_of(series),
    )
