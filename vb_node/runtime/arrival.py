"""An instance between its answer and its row: known here, so that a second content under its UID is refused."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from storage import arrivals, associations, audit
from storage.arrivals import Arrived

log = logging.getLogger(__name__)

ACTOR = "receive"


@dataclass(frozen=True, slots=True)
class Taken:
    """An instance that was answered Success, from a host."""

    arrived: Arrived
    host: str


class Underway:
    """The arrivals that the ledger does not hold yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}  # by kind and UID: its value, how often

    def claim(self, arrived: Arrived) -> Callable[[], None]:
        """Hold an arrival until the function that is given is called.

        Raises
        ------
        Conflict
            Another content under its UID is underway, or another study with its series.
        """
        claims = {
            ("instance", arrived.sop_instance_uid): (arrived.sha256, arrived.series_instance_uid),
            ("series", arrived.series_instance_uid): (arrived.study_instance_uid,),
        }
        with self._lock:
            for name, value in claims.items():
                if self._held.get(name, (value, 0))[0] != value:
                    raise arrivals.Conflict(f"{name[0]} {name[1]} is known with other content; the first is kept")
            for name, value in claims.items():
                self._held[name] = (value, self._held.get(name, (value, 0))[1] + 1)
        return lambda: self._release(list(claims))

    def _release(self, names: list[tuple[str, str]]) -> None:
        with self._lock:
            for name in names:
                value, count = self._held.pop(name)
                if count > 1:
                    self._held[name] = (value, count - 1)


def put_down(session: Session, taken: Sequence[Taken], listener: str) -> list[Arrived]:
    """Write the rows of instances that were taken, and of the associations over which they came.

    Gives those of which another process of the listener took other content first: their files are kept, and told of.
    """
    note(session, taken, listener)
    aside = []
    for one, conflict in arrivals.record(session, [each.arrived for each in taken], actor=ACTOR):
        log.error("instance set aside", extra={"sop_instance_uid": one.sop_instance_uid})
        audit.record(
            session,
            "instance set aside",
            now=one.received_at,
            actor=ACTOR,
            outcome="failure",
            details={"sha256": one.sha256, "why": str(conflict)},
            peer=one.peer,
            sop_instance_uid=one.sop_instance_uid,
        )
        aside.append(one)
    return aside


def note(session: Session, taken: Sequence[Taken], listener: str) -> None:
    """Write down the associations over which instances came."""
    for uid, one in {each.arrived.association_id: each for each in taken}.items():
        if uid is not None:
            now = one.arrived.received_at
            associations.note(session, uid, one.arrived.peer, one.host, listener=listener, now=now)
