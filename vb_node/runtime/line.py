"""The line: its stations by name, their stores, and how each of them turns until it is told to stop."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from storage.database import Database
from storage.spool import Spool
from vb_node.config import Settings
from vb_node.runtime import supervised

log = logging.getLogger(__name__)

RECEIVE = "receive"
STATIONS = (RECEIVE, "assemble", "work", "deliver", "tell", "retain")
IDLE_S, UNTOLD_S, LOOK_S, BEAT_S = 1.0, 0.2, 0.05, 2.0

Step = Callable[[float], bool]
Station = Callable[[Database, Settings, threading.Event, int], None]


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.data / "spool")


def results_of(settings: Settings) -> Path:
    return settings.data / "results"


def turn(
    station: str,
    step: Step,
    stop: threading.Event,
    changes: Callable[[], int | None] = lambda: None,
    *,
    is_timed: bool = False,
) -> None:
    """Call a station's step until told to stop; a bug in one step does not stop the line.

    A step that finds nothing is called again when ``changes`` gives another number, at the latest after ``IDLE_S``.
    Where it gives none, or time alone may give a step that ``is_timed`` something to do, after ``UNTOLD_S``.
    """
    log.info("station ready", extra={"station": station})
    supervised.tell_ready()
    while not stop.is_set():
        seen = changes()
        try:
            is_busy = step(time.time())
        except Exception:
            log.exception("step failed", extra={"station": station})
            is_busy = False
            stop.wait(BEAT_S)
        if not is_busy:
            _rest(stop, changes, seen, UNTOLD_S if is_timed or seen is None else IDLE_S)


def _rest(stop: threading.Event, changes: Callable[[], int | None], seen: int | None, at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while not stop.wait(LOOK_S) and time.monotonic() < deadline and changes() == seen:
        pass


def turn_beside(steps: Mapping[str, Step], database: Database, stop: threading.Event) -> list[threading.Thread]:
    """Turn each step in a thread of its own, until told to stop."""
    threads = [threading.Thread(target=turn, args=(name, step, stop, database.changes)) for name, step in steps.items()]
    for thread in threads:
        thread.start()
    return threads


def wanted(settings: Settings) -> list[str]:
    """Name the stations that a configuration gives something to do."""
    return [name for name in STATIONS if name != "tell" or settings.audit or settings.alerts]
