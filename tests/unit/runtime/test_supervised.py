"""A station forked from its supervisor: it ends with a status, and hears what it is told from its birth on."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from storage.database import Database
from vb_node.config import Settings, build
from vb_node.runtime import supervised
from vb_node.runtime.node import FAILED, run_station

WITHIN_S = 20.0
BUSY_S = 0.3  # a station that has not yet said that it obeys


def _obey_late() -> int:
    time.sleep(BUSY_S)
    return 7 if supervised.obey().wait(WITHIN_S) else 1


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_station_that_is_told_to_stop_when_it_is_just_born_stops_in_order(told: signal.Signals) -> None:
    station = supervised.start("station", supervised.Errand(), _obey_late)

    os.kill(station.pid, told)
    station.join(WITHIN_S)

    assert station.exit_status == 7


def test_who_starts_a_station_goes_on_to_hear_signals() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    station = supervised.start("station", supervised.Errand(), lambda: 0)
    station.join(WITHIN_S)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_r_14_who_gets_no_process_hears_signals_and_holds_nothing_of_the_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ()), psutil.Process().num_fds()
    monkeypatch.setattr(os, "fork", refuse)

    for _ in range(3):
        with pytest.raises(BlockingIOError):
            supervised.start("station", supervised.Errand(), lambda: 0)

    assert (signal.pthread_sigmask(signal.SIG_BLOCK, ()), psutil.Process().num_fds()) == before


def test_a_station_that_fails_ends_with_a_status_and_not_with_what_its_supervisor_would_do() -> None:
    def fail() -> int:
        raise ValueError("a bug")

    station = supervised.start("station", supervised.Errand(), fail)
    station.join(WITHIN_S)

    assert station.exit_status == supervised.UNKNOWN


def test_a_station_waits_for_its_threads() -> None:
    read, write = os.pipe()

    def run() -> int:
        threading.Thread(target=lambda: (time.sleep(BUSY_S), os.write(write, b"1"))).start()
        return 0

    station = supervised.start("station", supervised.Errand(), run)
    os.close(write)
    station.join(WITHIN_S)

    assert station.exit_status == 0
    assert os.read(read, 1) == b"1"
    os.close(read)


def test_threads_of_a_station_that_fails_are_told_to_stop(tmp_path: Path) -> None:
    def fail(_database: Database, _settings: Settings, stop: threading.Event, _number: int) -> None:
        threading.Thread(target=stop.wait).start()
        raise RuntimeError("can't start new thread")

    settings = build({"node": {"data": str(tmp_path)}})
    station = supervised.start("station", supervised.Errand(), lambda: run_station("deliver", settings, fail))
    station.join(WITHIN_S)

    assert station.exit_status == FAILED


def test_a_process_whose_end_was_not_kept_has_ended() -> None:
    station = supervised.start("station", supervised.Errand(), lambda: 0)
    os.waitpid(station.pid, 0)

    assert station.exit_status == supervised.UNKNOWN


def test_a_station_gets_its_errand_and_speaks_to_its_supervisor() -> None:
    read, write = os.pipe()

    def run() -> int:
        supervised.tell_ready()
        supervised.tell_left()
        return supervised.own.number

    station = supervised.start("station", supervised.Errand(number=3, ready=write), run)
    os.close(write)
    station.join(WITHIN_S)

    assert station.exit_status == 3
    assert os.read(read, 2) == b"1"
    assert os.read(read, 1) == b""
    os.close(read)
