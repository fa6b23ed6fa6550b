"""How a station turns: at once when the ledger has changed, now and then when it has not, on after a bug."""

import threading
import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest
from empty_ledger import empty_ledger

from storage import stations
from vb_node.runtime import line
from vb_node.runtime.line import IDLE_S, UNTOLD_S, turn

CALLS = 4  # a busy machine makes a gap longer, and never all of them shorter


def _gaps(changes: Callable[[], int | None], **how: bool) -> list[float]:
    """Turn a step that finds nothing until it was called some times, and give the seconds between the calls."""
    stop, called = threading.Event(), list[float]()

    def step(_now: float) -> bool:
        called.append(time.monotonic())
        if len(called) == CALLS:
            stop.set()
        return False

    turn("test", step, stop, changes, **how)
    return [after - before for before, after in pairwise(called)]


def test_a_step_that_finds_nothing_rests_while_the_ledger_is_as_it_was() -> None:
    assert min(_gaps(lambda: 1)) >= IDLE_S


def test_a_step_is_called_again_when_the_ledger_has_changed() -> None:
    numbers = count()

    assert min(_gaps(lambda: next(numbers))) < IDLE_S


@pytest.mark.parametrize(("number", "is_timed"), [(None, False), (1, True)])
def test_where_no_change_is_told_or_time_alone_may_bring_one_a_step_is_called_more_often(
    number: int | None, is_timed: bool
) -> None:
    assert UNTOLD_S <= min(_gaps(lambda: number, is_timed=is_timed)) < IDLE_S


def test_a_step_that_fails_does_not_stop_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BEAT_S", 0.01)
    stop, called = threading.Event(), list[float]()

    def step(now: float) -> bool:
        called.append(now)
        if len(called) > 2:
            stop.set()
        raise ValueError("a bug")

    turn("test", step, stop)

    assert len(called) == 3


def test_each_commit_of_anybody_changes_the_ledgers_number(tmp_path: Path) -> None:
    ours, others = empty_ledger(tmp_path / "ledger.db"), empty_ledger(tmp_path / "ledger.db")
    numbers = []
    for beat in range(20):
        with others.write() as session:
            stations.hear(session, "work 1", since=0.0, now=float(beat))
        numbers.append(ours.changes())

    assert None not in numbers
    assert len(set(numbers)) == 20
