"""Which stations are alive, and since when."""

from sqlalchemy.orm import Session

from storage.schema import Station


def start(session: Session, name: str, *, now: float) -> None:
    """Say that a station runs since now."""
    session.merge(Station(name=name, started_at=now, beat_at=now))


def beat(session: Session, name: str, *, now: float) -> None:
    """Say that a station is still alive."""
    session.get_one(Station, name).beat_at = now


def get(session: Session, name: str) -> Station | None:
    return session.get(Station, name)
