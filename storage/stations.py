"""Which stations are alive, and since when.

A station may run in several processes: ``receive 1``, ``receive 2``. Asked for by its name alone it has been up since
the last of them started, and was heard when the one that is silent longest was.
"""

from collections.abc import Sequence

from sqlalchemy import String, bindparam, delete, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from storage.schema import Station


def _is_of(name: str | ColumnElement[str]) -> ColumnElement[bool]:
    return or_(Station.name == name, Station.name.like(name + " %"))


# Asked at every turn of the assembler: to lay it out anew takes longer than to run it.
_PROCESSES = select(Station).where(_is_of(bindparam("name", type_=String)))


def start(session: Session, name: str, *, now: float) -> None:
    """Say that a station runs since now."""
    hear(session, name, since=now, now=now)


def join(session: Session, station: str, name: str, *, launched: float, now: float) -> float:
    """Say that a process of a station runs, and give since when.

    Since another of them began, if that was after this one was launched: the two came together, and what came to the
    other meanwhile was interrupted by nothing.
    """
    together = _is_of(station), Station.name != name, Station.started_at >= launched
    since = session.scalar(select(func.min(Station.started_at)).where(*together)) or now
    start(session, name, now=since)
    return since


def hear(session: Session, name: str, *, since: float, now: float) -> None:
    """Say that a station has run since a time and is alive."""
    session.merge(Station(name=name, started_at=since, beat_at=now))


def beat(session: Session, name: str, *, now: float) -> None:
    """Say that a station is still alive."""
    session.get_one(Station, name).beat_at = now


def get(session: Session, name: str) -> Station | None:
    """Give a station, all its processes taken together."""
    rows = session.scalars(_PROCESSES, {"name": name}).all()
    if not rows:
        return None
    return Station(name=name, started_at=max(row.started_at for row in rows), beat_at=min(row.beat_at for row in rows))


def others(session: Session, name: str, own: str, *, since: float) -> bool:
    """Say whether another process of a station has been heard since a time."""
    heard = select(Station.name).where(_is_of(name), Station.name != own, Station.beat_at >= since)
    return session.scalar(heard.limit(1)) is not None


def up(session: Session, *, heard_since: float, began_until: float, now: float) -> set[str]:
    """Name the stations of which a process has been heard since a time and began before another.

    What began in the future says nothing: the clock was put back. The pages are a station of their own here, ``web``,
    though their process receives too, as ``receive web``.
    """
    is_old = or_(Station.started_at <= began_until, Station.started_at > now)
    asked = select(Station.name).where(Station.beat_at >= heard_since, is_old)
    return {"web" if name == "receive web" else name.partition(" ")[0] for name in session.scalars(asked)}


def listing(session: Session) -> Sequence[Station]:
    """List each process of each station by name."""
    return session.scalars(select(Station).order_by(Station.name)).all()


def forget_all(session: Session) -> None:
    """Forget every station: those that run now say so themselves."""
    session.execute(delete(Station))


def forget(session: Session, name: str) -> None:
    """Forget the processes of a station: those that run now say so themselves."""
    session.execute(delete(Station).where(_is_of(name)))
