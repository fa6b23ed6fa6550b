"""An instance between its answer and its row: known here, so that a second content under its UID is refused.

Other processes of the listener, and the web station, know of it by a lock that they share: ``storage.byte_locks``.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from storage import arrivals, associations, audit
from storage.arrivals import Arrived
from storage.byte_locks import ByteLocks
from vb_node.errors import ConfigError

log = logging.getLogger(__name__)

ACTOR = "receive"
PATIENCE_S, STEP_S = 5.0, 0.005


@dataclass(frozen=True, slots=True)
class Taken:
    """An instance that was answered Success, from a host."""

    arrived: Arrived
    host: str


class ElsewhereUnderway(Exception):
    """Another process takes an instance of this UID, or its series in another study, and its row does not come."""


class Underway:
    """The arrivals that the ledger does not hold yet; ``root`` is the spool that this process shares with others."""

    def __init__(self, root: Path) -> None:
        self._shared = locks_of(root.with_suffix(".lock"))
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}  # by kind and UID: its value, how often
        self._agreed: set[str] = set()  # series of which other processes know the study

    def claim(self, arrived: Arrived) -> Callable[[], None]:
        """Hold an arrival until the function that is given is called.

        Raises
        ------
        Conflict
            Another content under its UID is underway, or another study with its series.
        ElsewhereUnderway
            Another process did not end with its UID in time.
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
        try:
            self._wait_for_others(arrived)
        except BaseException:
            self._release(list(claims))
            raise
        return lambda: self._release(list(claims))

    def _wait_for_others(self, arrived: Arrived) -> None:
        """Wait until no other process holds the UIDs otherwise, and hold them; what it took is in the ledger then."""
        until = time.monotonic() + PATIENCE_S
        while not (self._agree(arrived) and self._shared.take(arrived.sop_instance_uid)):
            if time.monotonic() > until:
                raise ElsewhereUnderway
            time.sleep(STEP_S)

    def _agree(self, arrived: Arrived) -> bool:
        """Hold the study of a series, once for all of its instances that are underway."""
        uid = arrived.series_instance_uid
        with self._lock:
            if uid not in self._agreed and self._shared.agree(uid, arrived.study_instance_uid):
                self._agreed.add(uid)
            return uid in self._agreed

    def _release(self, names: list[tuple[str, str]]) -> None:
        with self._lock:
            for name in names:
                value, count = self._held.pop(name, ((), 0))
                if count > 1:
                    self._held[name] = (value, count - 1)
                elif value:  # else this was done, and broke off for want of memory
                    self._let_go(*name, value[0])

    def _let_go(self, kind: str, uid: str, value: str) -> None:
        try:
            if kind == "instance":
                self._shared.let_go(uid)
            elif uid in self._agreed:
                self._agreed.discard(uid)
                self._shared.forget(uid, value)
        except OSError:  # who waits for it is told so; the ledger's writer must go on
            log.exception("lock not let go", extra={"kind": kind, "uid": uid})

    def close(self) -> None:
        self._shared.close()


def locks_of(file: Path) -> ByteLocks:
    """Open the locks that the processes of this node share; raise ``ConfigError``."""
    try:
        return ByteLocks(file)
    except OSError as error:
        why = f"{file.parent} knows no locks ({error.strerror})"
        raise ConfigError(f"node.data: a folder on a disk of this machine expected, {why}") from error


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
    brought = {
        one.arrived.association_id: associations.Brought(one.arrived.peer, one.host, one.arrived.received_at)
        for one in reversed(taken)
        if one.arrived.association_id is not None
    }
    if brought:
        associations.note(session, brought, listener=listener)
