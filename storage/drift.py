"""What changes without an error: the scores of a route's results, and the series descriptions that a peer sends."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, aliased

from storage.schema import Described, Drift, Job


class Ended(NamedTuple):
    """One job that was completed: by which route, with what, when, and what it gave."""

    route: str
    application: str
    version: str
    plan: dict[str, Any]
    finished_at: float
    outcome: dict[str, Any] | None


def ended(session: Session, since: float) -> list[Ended]:
    """List the jobs completed since a time, newest first, each series by its last revision alone."""
    later = aliased(Job)
    is_superseded = select(later.id).where(later.supersedes_id == Job.id, later.state == "COMPLETED").exists()
    query = select(Job.route, Job.application, Job.version, Job.plan, Job.finished_at, Job.outcome)
    query = query.where(Job.state == "COMPLETED", Job.finished_at >= since, ~is_superseded)
    return [Ended(*row) for row in session.execute(query.order_by(Job.finished_at.desc(), Job.id.desc()))]


def listing(session: Session) -> Sequence[Drift]:
    """List how far each score of each route is from what it was, by route and score."""
    return session.scalars(select(Drift).order_by(Drift.route, Drift.score)).all()


def replace(session: Session, found: Iterable[Drift]) -> None:
    """Put what was found last in the place of what was found before."""
    session.execute(delete(Drift))
    session.add_all(found)


def describe(session: Session, peer: str, description: str, route: str | None, *, now: float) -> None:
    """Count a series of this description that a peer sent, and say which route took it, if one did."""
    text = "".join(character for character in description if character.isprintable())[:64]
    known = session.get(Described, (peer, text))
    if known is None:
        session.add(Described(peer=peer, description=text, route=route, series=1, first_at=now, last_at=now))
        return
    known.series, known.route, known.last_at = known.series + 1, route, max(known.last_at, now)


def descriptions(session: Session) -> Sequence[Described]:
    """List what each peer sends under which description, by peer and description."""
    return session.scalars(select(Described).order_by(Described.peer, Described.description)).all()
