"""The shelf NOTICES: what those on duty are told, once when a condition begins to be so, and once when it ends."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from storage import audit
from storage.schema import Alert, Notice

Key = tuple[str, str]


@dataclass(frozen=True)
class Condition:
    """Something that somebody should know: what kind it is of, of what, and what to do; never patient data."""

    kind: str
    subject: str
    detail: str

    @property
    def key(self) -> Key:
        return self.kind, self.subject


def raised(session: Session) -> Sequence[Alert]:
    """List the alerts that are raised, oldest first."""
    return session.scalars(select(Alert).order_by(Alert.raised_at, Alert.kind, Alert.subject)).all()


def settle(session: Session, found: Collection[Condition], channels: Collection[str], *, now: float) -> None:
    """Raise what is so now and was not, and clear what was and is no more: a notice by each channel, in the trail too.

    What is raised already is not told again.
    """
    known = {(alert.kind, alert.subject): alert for alert in raised(session)}
    for one in found:
        if one.key not in known:
            session.add(Alert(kind=one.kind, subject=one.subject, raised_at=now, detail=one.detail[:1000]))
            _tell(session, "raised", one, channels, now=now)
    for key in set(known) - {one.key for one in found}:
        session.delete(known[key])
        _tell(session, "cleared", Condition(*key, known[key].detail), channels, now=now)


def pending(session: Session, channel: str, *, limit: int) -> Sequence[Notice]:
    """List what is to be told by a channel, oldest first."""
    return session.scalars(select(Notice).filter_by(channel=channel).order_by(Notice.id).limit(limit)).all()


def undelivered(session: Session) -> tuple[int, float | None]:
    """Count what is to be told by any channel, and give when the oldest of it was put on the shelf."""
    count, since = session.execute(select(func.count(), func.min(Notice.at))).one()
    return count, since


def arrived(session: Session, notices: Iterable[Notice]) -> None:
    """Take off the shelf what was told."""
    session.execute(delete(Notice).where(Notice.id.in_([one.id for one in notices])))


def _tell(session: Session, change: str, one: Condition, channels: Iterable[str], *, now: float) -> None:
    words = {"kind": one.kind, "subject": one.subject, "detail": one.detail[:1000]}
    session.add_all(Notice(channel=channel, at=now, change=change, **words) for channel in channels)
    event = "alert raised" if change == "raised" else "alert cleared"
    audit.record(session, event, now=now, actor="tell", details=words)
