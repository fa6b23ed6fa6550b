"""Over which associations instances came, and how those ended: what the shelf ARRIVALS says of its senders."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from storage.schema import Association, Instance

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Brought:
    """Whose association brought the first instance to a process of the listener, from where, and when."""

    peer: str
    host: str
    at: float


def note(session: Session, brought: Mapping[str, Brought], *, listener: str) -> None:
    """Write associations down by their ids, each once."""
    known = set(session.scalars(select(Association.id).where(Association.id.in_(brought))))
    for association_id, one in brought.items():
        if association_id not in known:
            keys = {"peer": one.peer[:64], "host": one.host[:64], "listener": listener}
            session.add(Association(id=association_id, began_at=one.at, is_released=False, **keys))


def end(session: Session, association_id: str, *, is_released: bool, now: float) -> None:
    """Write down how an association ended: by its release (PS3.8 7.2), or by an abort or a broken connection."""
    association = session.get_one(Association, association_id)
    association.ended_at, association.is_released = now, is_released


def interrupt(session: Session, listener: str | None = None, *, now: float) -> None:
    """End those that are open, unreleased: their process of the listener is gone, or all of them are."""
    gone = update(Association).where(Association.ended_at.is_(None))
    session.execute((gone if listener is None else gone.filter_by(listener=listener)).values(ended_at=now))


def by_series(session: Session, series_instance_uids: Collection[str]) -> Mapping[str, Mapping[str | None, int]]:
    """Count the instances of each series by the association that brought them last; None: unknown."""
    query = (
        select(Instance.series_instance_uid, Instance.association_id, func.count())
        .where(Instance.series_instance_uid.in_(series_instance_uids))
        .group_by(Instance.series_instance_uid, Instance.association_id)
    )
    found: dict[str, dict[str | None, int]] = {uid: {} for uid in series_instance_uids}
    for uid, association_id, count in session.execute(query):
        found[uid][association_id] = count
    return found


def get(session: Session, association_ids: Collection[str]) -> list[Association]:
    """Give associations by their ids."""
    return list(session.scalars(select(Association).where(Association.id.in_(association_ids))))


def hosts(session: Session, sop_instance_uids: Collection[str]) -> Mapping[str, tuple[str, str]]:
    """Give peer and host of the association that brought each instance last, where it is known."""
    query = select(Instance.sop_instance_uid, Association.peer, Association.host).join(
        Association, Instance.association_id == Association.id
    )
    rows = session.execute(query.where(Instance.sop_instance_uid.in_(sop_instance_uids)))
    return {uid: (peer, host) for uid, peer, host in rows}


def last_arrival(session: Session, peer: str) -> float | None:
    """Give when the last association that brought instances of a peer ended, or, while it is open, began."""
    query = select(func.coalesce(Association.ended_at, Association.began_at)).where(Association.peer == peer)
    return session.scalar(query.order_by(Association.began_at.desc()).limit(1))


def count(session: Session, peer: str, *, since: float) -> int:
    """Count the associations in which a peer brought instances since a time."""
    query = select(func.count()).where(Association.peer == peer, Association.began_at >= since)
    return session.scalar(query) or 0


def days(session: Session, peer: str, *, since: float, until: float) -> int:
    """Count the days (of UTC) on which a peer brought instances."""
    day = func.round(Association.began_at / DAY_S - 0.5)  # a cast would round on one database and cut on the other
    query = select(func.count(day.distinct())).where(Association.peer == peer)
    return session.scalar(query.where(Association.began_at >= since, Association.began_at <= until)) or 0
