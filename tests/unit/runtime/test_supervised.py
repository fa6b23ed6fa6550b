"""A station forked from its supervisor: it ends with a status, and hears what it is told from its birth on."""

import os
import signal
import time

import pytest

from vb_node.runtime import supervised

WITHIN_S = 20.0
BUSY_S = 0.3  # a station that has not yet said that it obeys


def _obey_late() -> int:
    time.sleep(BUSY_S)
    return 7 if supervised.obey().wait(WITHIN_S) else 1


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_station_that_is_told_to_stop_when_it_is_just_born_stops_in_order(told: signal.Signals) -> None:
    station = supervised.start("station", supervised.Errand(), _obey_late)

    os.kill(station.pid or 0, told)
    station.join(WITHIN_S)

    assert station.exitcode == 7


def test_who_starts_a_station_goes_on_to_hear_signals() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    station = supervised.start("station", supervised.Errand(), lambda: 0)
    station.join(WITHIN_S)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_station_gets_its_errand_and_speaks_to_its_supervisor() -> None:
    read, write = os.pipe()

    def run() -> int:
        supervised.tell_ready()
        supervised.tell_left()
        return supervised.own.number

    station = supervised.start("station", supervised.Errand(number=3, ready=write), run)
    os.close(write)
    station.join(WITHIN_S)

    assert station.exitcode == 3
    assert os.read(read, 2) == b"1"
    assert os.read(read, 1) == b""
    os.close(read)
