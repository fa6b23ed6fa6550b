"""The pen: writes to the ledger from many threads, as many as wait in one commit.

A commit that survives a power cut costs an fsync, whether it holds one row or a hundred. What goes through here is safe
elsewhere already (the spool rebuilds it after a crash), so nobody waits for it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from storage.database import Database, is_of_the_ledger

log = logging.getLogger(__name__)

MOST_WAITING, MOST_A_COMMIT = 1000, 200
GATHER_S, RETRY_S = 0.2, 1.0

Entry = TypeVar("Entry")


class Dry(Exception):
    """The ledger takes nothing now."""


class Pen(Generic[Entry]):
    """One thread that writes what others hand in, in their order, by ``write_all``; stop it with ``close``."""

    def __init__(self, database: Database, write_all: Callable[[Session, Sequence[Entry]], None]) -> None:
        self._database, self._write_all = database, write_all
        self._waiting: deque[tuple[Entry, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._is_failing = self._is_closed = False
        self._handed_in = self._dealt_with = self._hurried = 0  # entries since the start; the last: so many at once
        self._thread = threading.Thread(target=self._run, name="pen", daemon=True)
        self._thread.start()

    def write(self, entry: Entry, done: Callable[[], None] = lambda: None) -> None:
        """Hand in one entry; ``done`` is called when it is committed. Wait while too many wait.

        Raises
        ------
        Dry
            The last attempt to write failed, and what it was about still waits.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MOST_WAITING or self._is_failing)
            if self._is_failing or self._is_closed:
                raise Dry("the ledger cannot be written: is its disk full?")
            self._add(entry, done)

    def leave(self, entry: Entry, *, is_few: bool = False) -> None:
        """Hand in one entry that may wait as long as the ledger fails.

        Raises
        ------
        Dry
            Too many wait already, unless it is of a kind of which there are few.
        """
        with self._changed:
            self._changed.wait_for(lambda: is_few or len(self._waiting) < MOST_WAITING or self._is_failing)
            if (len(self._waiting) >= MOST_WAITING and not is_few) or self._is_closed:
                raise Dry("the ledger cannot be written, and too much waits for it")
            self._add(entry, lambda: None)

    def _add(self, entry: Entry, done: Callable[[], None]) -> None:
        """Wake the thread where it has something to do now, and not for each entry: it gathers them."""
        self._waiting.append((entry, done))
        self._handed_in += 1
        if len(self._waiting) in (1, MOST_A_COMMIT):
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until what was handed in by now is committed; return at once while the ledger fails."""
        with self._changed:
            upto = self._hurried = self._handed_in
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_failing or self._dealt_with >= upto)

    def close(self) -> None:
        """Commit what waits, and stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        is_over = False
        while not is_over:
            try:
                is_over = self._write_some()
            except Exception:  # no memory, perhaps; what waits still does
                log.exception("pen goes on")
                time.sleep(RETRY_S)

    def _write_some(self) -> bool:
        """Write what waits; say whether this was the last of it."""
        batch = self._next()
        written = self._commit([entry for entry, _ in batch])
        for _, done in batch[:written]:
            _tell(done)
            with self._changed:
                self._waiting.popleft()
                self._dealt_with += 1
        with self._changed:
            self._is_failing = written < len(batch)
            self._changed.notify_all()
            return not batch or (self._is_failing and self._changed.wait_for(lambda: self._is_closed, RETRY_S))

    def _next(self) -> list[tuple[Entry, Callable[[], None]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._changed.wait_for(self._is_due, GATHER_S)
            return list(islice(self._waiting, MOST_A_COMMIT))

    def _is_due(self) -> bool:
        return self._is_closed or len(self._waiting) >= MOST_A_COMMIT or self._dealt_with < self._hurried

    def _commit(self, entries: Sequence[Entry]) -> int:
        """Write all in one commit, or what is possible one by one; give how many are dealt with."""
        if not entries:
            return 0
        try:
            with self._database.write() as session:
                self._write_all(session, entries)
        except Exception as error:
            if is_of_the_ledger(error):
                log.exception("ledger not written, tried again", extra={"entries": len(entries)})
                return 0
            if len(entries) > 1:  # one of them is at fault, and must not hold up the others
                return sum(1 for _ in takewhile(bool, (self._commit([entry]) for entry in entries)))
            log.exception("entry left out")
        return len(entries)


def _tell(done: Callable[[], None]) -> None:
    try:
        done()
    except MemoryError:  # told again
        raise
    except Exception:
        log.exception("not told that it is committed")
