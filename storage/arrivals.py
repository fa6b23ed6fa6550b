"""The shelf ARRIVALS: instances that were answered Success, by series, until a series is whole."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from storage import audit
from storage.schema import Instance, Series


class Conflict(Exception):
    """The SOP Instance UID is known with other content, or in another series."""


_INSTANCES, _SERIES = Instance.__table__.c, Series.__table__.c
_BY_UID = _INSTANCES.sop_instance_uid == bindparam("uid")
# Made once, and one for both: to put a statement together takes longer than to run it, and this runs for each instance.
_KNOWN = select(
    select(_INSTANCES.sha256).where(_BY_UID).scalar_subquery(),
    select(_INSTANCES.series_instance_uid).where(_BY_UID).scalar_subquery(),
    select(_INSTANCES.deleted_at).where(_BY_UID).scalar_subquery(),
    select(_SERIES.study_instance_uid).where(_SERIES.series_instance_uid == bindparam("series")).scalar_subquery(),
)


def record(session: Session, instance: Instance, series: Series, *, actor: str) -> bool:
    """Put one instance on the shelf; give False if it was there already, byte for byte.

    ``series`` carries the keys of the instance's series, used when it is the first of it. A new instance of a
    closed series opens it again.

    Raises
    ------
    Conflict
        The UID is taken by other bytes or another series: the first one is kept.
    """
    place = series.series_instance_uid, series.study_instance_uid
    found = _look(session, instance.sop_instance_uid, instance.sha256, *place)
    if found == "kept":
        return False
    shelf = _shelf_of(session, series)
    if found == "let go":
        instance = _take_again(session, instance)
    else:
        shelf.instances += 1
        session.add(instance)
    _open(shelf, now=instance.received_at)
    audit.record(
        session,
        "instance received",
        now=instance.received_at,
        actor=actor,
        details={"sha256": instance.sha256, "sop_class_uid": instance.sop_class_uid, "size_bytes": instance.size_bytes},
        peer=instance.peer,
        sop_instance_uid=instance.sop_instance_uid,
        **audit.keys_of(shelf),
    )
    return True


def is_known(
    session: Session, sop_instance_uid: str, sha256: str, series_instance_uid: str, study_instance_uid: str
) -> bool:
    """Say whether an instance is on the shelf, byte for byte; raise ``Conflict`` like ``record``."""
    return _look(session, sop_instance_uid, sha256, series_instance_uid, study_instance_uid) == "kept"


def _take_again(session: Session, instance: Instance) -> Instance:
    """Take an instance back whose file retention had let go."""
    known = session.get_one(Instance, instance.sop_instance_uid)
    known.deleted_at, known.received_at, known.peer = None, instance.received_at, instance.peer
    known.association_id = instance.association_id
    return known


def _look(
    session: Session, sop_instance_uid: str, sha256: str, series_instance_uid: str, study_instance_uid: str
) -> Literal["new", "kept", "let go"]:
    found = session.connection().execute(_KNOWN, {"uid": sop_instance_uid, "series": series_instance_uid}).one()
    known_sha256, known_series, deleted_at, known_study = found
    if known_sha256 is not None and (known_sha256, known_series) != (sha256, series_instance_uid):
        raise Conflict(f"SOP Instance UID {sop_instance_uid} is known with other content; the first is kept")
    if known_study not in (None, study_instance_uid):
        raise Conflict(f"series {series_instance_uid} is known in another study; the first is kept")
    if known_sha256 is None:
        return "new"
    return "kept" if deleted_at is None else "let go"


def _shelf_of(session: Session, series: Series) -> Series:
    """Give the row of a series, made of ``series`` where there is none; held for the session, which forgets else."""
    shelves: dict[str, Series] = session.info.setdefault("shelves", {})
    uid = series.series_instance_uid
    if uid not in shelves:
        shelf = session.get(Series, uid)
        if shelf is None:
            series.instances = 0
            session.add(series)
            session.flush()
        shelves[uid] = shelf or series
    return shelves[uid]


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
    query = select(Series).where(Series.closed_at.is_(None)).order_by(Series.study_instance_uid, Series.opened_at)
    return session.scalars(query).all()


def series_of_study(session: Session, study_instance_uid: str) -> Sequence[Series]:
    """List every series of a study that has come."""
    query = select(Series).filter_by(study_instance_uid=study_instance_uid).order_by(Series.series_instance_uid)
    return session.scalars(query).all()


def instances_of_series(session: Session, series_instance_uid: str) -> Sequence[Instance]:
    """List the instances of a series by UID."""
    query = select(Instance).filter_by(series_instance_uid=series_instance_uid).order_by(Instance.sop_instance_uid)
    return session.scalars(query).all()


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
