"""The shelf OUTAGES: which destinations cannot be reached. One probe a minute goes there instead of every delivery."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit, deliveries
from storage.schema import Outage

PROBE_S = 60.0


def look(session: Session, destination: str, *, now: float) -> Literal["up", "down", "probe"]:
    """Say whether a destination is up, is down, or is to be probed now."""
    outage = session.get(Outage, destination)
    if outage is None:
        return "up"
    return "probe" if outage.probe_at <= now else "down"


def listing(session: Session) -> Sequence[Outage]:
    """List the destinations that are down."""
    return session.scalars(select(Outage).order_by(Outage.destination)).all()


def keep(session: Session, destination: str, detail: str, *, now: float) -> None:
    """Begin or prolong an outage: the next probe is due in a minute."""
    outage = session.get(Outage, destination)
    if outage is None:
        session.add(Outage(destination=destination, since=now, probe_at=now + PROBE_S, detail=detail[:1000]))
        _tell(session, "destination down", destination, {"detail": detail[:1000]}, now=now)
    else:
        outage.probe_at, outage.detail = now + PROBE_S, detail[:1000]


def end(session: Session, destination: str, *, now: float) -> None:
    """End an outage: everything that waits for the destination is due at once, in order."""
    outage = session.get_one(Outage, destination)
    session.delete(outage)
    _tell(session, "destination up", destination, {"down_s": now - outage.since}, now=now)
    deliveries.wake(session, destination)


def _tell(session: Session, event: str, destination: str, details: dict[str, object], *, now: float) -> None:
    outcome: Literal["success", "failure"] = "success" if event.endswith("up") else "failure"
    audit.record(session, event, now=now, actor="deliver", outcome=outcome, peer=destination, details=details)
