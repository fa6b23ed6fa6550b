"""The pen: many writes in one commit, none lost, one bad one alone left out."""

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, InternalError, TimeoutError
from sqlalchemy.orm import Session

from storage import audit, stations
from storage.database import Database
from storage.pen import MOST_WAITING, Dry, Pen

Write = Callable[[Session], None]

SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def _write_all(session: Session, writes: Sequence[Write]) -> None:
    for write in writes:
        write(session)


def _start(name: str, order: list[str]) -> Write:
    def write(session: Session) -> None:
        order.append(name)
        stations.start(session, name, now=1.0)

    return write


def test_what_many_threads_hand_in_is_written_and_told(database: Database) -> None:
    pen, order, told = Pen(database, _write_all), [], []
    threads = [
        threading.Thread(target=lambda n=number: pen.write(_start(f"s{n}", order), lambda: told.append(n)))
        for number in range(20)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pen.close()

    assert sorted(order) == sorted(f"s{number}" for number in range(20))
    assert sorted(told) == list(range(20))
    with database.read() as session:
        assert all(stations.get(session, name) for name in order)


def test_a_write_that_fails_does_not_take_the_others_with_it(database: Database) -> None:
    pen = Pen(database, _write_all)

    def fail(_session: Session) -> None:
        raise KeyError

    pen.write(_start("before", []))
    pen.write(fail)
    pen.write(_start("after", []))
    pen.close()

    with database.read() as session:
        assert stations.get(session, "before")
        assert stations.get(session, "after")


def test_without_memory_it_writes_later_and_leaves_nothing_out(database: Database) -> None:
    pen, told = Pen(database, _write_all), []
    scarce = {"write": iter([True]), "done": iter([True])}

    def write(session: Session) -> None:
        if next(scarce["write"], False):
            raise MemoryError
        stations.start(session, "written", now=1.0)

    def done() -> None:
        if next(scarce["done"], False):
            raise MemoryError
        told.append("written")

    pen.write(write, done)
    while not told:
        pen.settle()
    pen.close()

    assert _is_there(database, "written")
    assert told == ["written"]


def test_who_waits_for_what_was_handed_in_waits_for_no_more_than_that(database: Database) -> None:
    pen, is_over = Pen(database, _write_all), threading.Event()

    def write(_session: Session) -> None:
        if not is_over.is_set():
            pen.write(write)  # so that something waits at every moment

    pen.write(write)
    waiting = threading.Thread(target=pen.settle, daemon=True)
    waiting.start()
    waiting.join(20)
    has_waited_in_vain = waiting.is_alive()
    is_over.set()
    pen.close()

    assert not has_waited_in_vain


@pytest.mark.parametrize(
    "fault",
    [
        InternalError("INSERT", None, Exception("cannot execute INSERT in a read-only transaction")),
        DatabaseError("INSERT", None, Exception("database disk image is malformed")),
        TimeoutError("no connection of the pool is free"),
    ],
    ids=["read-only", "malformed", "none free"],
)
def test_what_the_ledger_does_not_take_waits_whatever_its_fault(database: Database, fault: Exception) -> None:
    pen, faults, told = Pen(database, _write_all), iter([fault, fault]), threading.Event()

    def write(session: Session) -> None:
        if (one := next(faults, None)) is not None:
            raise one
        stations.start(session, "written", now=1.0)

    pen.write(write, told.set)
    pen.settle()
    with pytest.raises(Dry):
        pen.write(_start("refused", []))
    told.wait(20)
    pen.close()

    assert _is_there(database, "written")
    assert not _is_there(database, "refused")


def test_one_of_few_is_left_however_many_wait(database: Database) -> None:
    may_go_on, faults = threading.Event(), iter([OSError("no space")])

    def write(_session: Session) -> None:
        if (one := next(faults, None)) is not None:
            raise one
        may_go_on.wait(20)

    pen = Pen(database, _write_all)
    pen.write(write)
    pen.settle()
    for _ in range(MOST_WAITING - 1):
        pen.leave(lambda _session: None)
    with pytest.raises(Dry, match="too much waits"):
        pen.leave(_start("one of many", []))
    pen.leave(_start("one of few", []), is_few=True)
    may_go_on.set()
    while not _is_there(database, "one of few"):
        pen.settle()
    pen.close()

    assert not _is_there(database, "one of many")


def test_who_cannot_be_told_is_told_no_more_and_holds_up_nobody(database: Database) -> None:
    pen, order = Pen(database, _write_all), list[str]()

    def fail() -> None:
        raise KeyError("gone")

    pen.write(_start("one", order), fail)
    pen.write(_start("other", order))
    pen.close()

    assert order == ["one", "other"]


@SQLITE_ONLY  # there a missing table is an operational error, as a full disk is on both
def test_a_ledger_that_cannot_be_written_takes_nothing_more_and_loses_nothing(database: Database) -> None:
    pen = Pen(database, _write_all)
    with database.write() as session:
        session.execute(text("ALTER TABLE stations RENAME TO elsewhere"))
    pen.write(_start("waiting", []))
    pen.settle()

    with pytest.raises(Dry, match="disk"):
        pen.write(_start("refused", []))
    pen.leave(_start("left", []))
    with database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO stations"))
    while not _is_there(database, "waiting"):
        pen.settle()
    pen.close()

    assert _is_there(database, "left")
    assert not _is_there(database, "refused")


def _is_there(database: Database, name: str) -> bool:
    with database.read() as session:
        return stations.get(session, name) is not None


def test_lines_of_one_commit_are_chained(database: Database) -> None:
    pen = Pen(database, _write_all)

    for number in range(5):
        pen.write(lambda session, at=float(number): audit.record(session, "tried", now=at, actor="test"))
    pen.close()

    with database.read() as session:
        lines = audit.search(session, since=None, until=None, limit=10)
        assert [line.at for line in lines] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert [line.previous for line in lines][1:] == [line.digest for line in lines][:-1]
