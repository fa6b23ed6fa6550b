"""How far the audit trail was handed on to others: a cursor a reader, moved only when what it passed has arrived."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.schema import Cursor, Event


def following(session: Session, name: str, *, limit: int) -> Sequence[Event]:
    """List the next lines of the trail that a reader has not handed on, oldest first; a new reader begins at the first.

    Numbers rise in the order of the commits, for the end of the chain is one transaction's alone: nothing comes
    behind a cursor later.
    """
    query = select(Event).where(Event.seq > _place(session, name)).order_by(Event.seq).limit(limit)
    return session.scalars(query).all()


def waiting_since(session: Session, name: str) -> float | None:
    """Give when the line that waits longest for a reader was written."""
    query = select(Event.at).where(Event.seq > _place(session, name)).order_by(Event.seq).limit(1)
    return session.scalar(query)


def waiting(session: Session, name: str) -> int:
    """Count the lines that wait for a reader; numbers have no gap."""
    return (session.scalar(select(func.max(Event.seq))) or 0) - _place(session, name)


def advance(session: Session, name: str, seq: int) -> None:
    """Say that all lines up to one are handed on."""
    session.merge(Cursor(name=name, seq=seq))


def _place(session: Session, name: str) -> int:
    cursor = session.get(Cursor, name)
    return 0 if cursor is None else cursor.seq
