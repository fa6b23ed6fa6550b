"""The shelf ARRIVALS: once each, by series, closed and opened again."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage import arrivals, audit
from storage.arrivals import Arrived
from storage.database import Database
from storage.schema import Series


def test_the_same_instance_twice_is_on_the_shelf_once(database: Database, arrive: Callable[..., bool]) -> None:
    first, second = arrive(), arrive(now=101.0)

    assert (first, second) == (True, False)
    with database.read() as session:
        assert arrivals.open_series(session)[0].instances == 1


def test_what_comes_to_one_series_from_two_processes_at_once_is_counted_whole(
    database: Database, arrive: Callable[..., bool]
) -> None:
    arrive()
    is_over = threading.Event()
    other = threading.Thread(target=lambda: (arrive(uid="1.2.3.2"), is_over.set()))

    with database.write() as session:
        series = session.get_one(Series, "1.2.3")
        other.start()
        came_between = is_over.wait(0.5)
        series.instances, series.closed_at = series.instances + 1, 200.0  # by what was seen before
    other.join()

    assert not came_between
    with database.read() as session:
        (series,) = arrivals.open_series(session)
        assert series.instances == 3


def test_other_content_under_a_known_uid_is_a_conflict_and_the_first_stays(
    database: Database, arrive: Callable[..., bool]
) -> None:
    arrive()

    with pytest.raises(arrivals.Conflict, match="the first is kept"):
        arrive(sha256="b" * 64)

    with database.read() as session:
        assert arrivals.instances_of_series(session, "1.2.3")[0].sha256 == "a" * 64


def test_a_series_that_names_another_study_is_a_conflict(arrive: Callable[..., bool]) -> None:
    arrive()

    with pytest.raises(arrivals.Conflict, match="another study"):
        arrive(uid="1.2.3.2", study="9.9")


def test_a_late_instance_opens_a_closed_series_again(database: Database, arrive: Callable[..., bool]) -> None:
    arrive()
    with database.write() as session:
        arrivals.close(session, arrivals.open_series(session)[0], "quiet for 60 s", now=160.0)

    arrive(uid="1.2.3.2", now=500.0)

    with database.read() as session:
        (series,) = arrivals.open_series(session)
        assert (series.instances, series.opened_at, series.last_arrival_at) == (2, 500.0, 500.0)


def test_each_arrival_is_told_in_the_audit_trail(database: Database, arrive: Callable[..., bool]) -> None:
    arrive()

    with database.read() as session:
        (event,) = audit.search(session, since=None, until=None, limit=10, sop_instance_uid="1.2.3.1")
    assert (event.event, event.peer, event.patient_id, event.accession_number) == (
        "instance received",
        "PACS",
        "P1",
        "A1",
    )


def test_what_comes_at_once_is_put_down_in_its_order_and_conflicts_are_given_back(database: Database) -> None:
    first = Arrived("1.1", "1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2", "P1", "A1", "a" * 64, 10, "PACS", 100.0)
    second = replace(first, sop_instance_uid="1.2", received_at=101.0)
    other_bytes = replace(first, sha256="b" * 64)
    other_study = replace(first, sop_instance_uid="1.3", study_instance_uid="9.9")

    with database.write() as session:
        conflicts = arrivals.record(session, [first, first, other_bytes, second, other_study], actor="receive")

    assert [one for one, _ in conflicts] == [other_bytes, other_study]
    with database.read() as session:
        (series,) = arrivals.open_series(session)
        kept = arrivals.instances_of_series(session, "1.2.3")
        told = audit.search(session, since=None, until=None, limit=10, event="instance received")
        assert audit.verify(session).lines == 2
    assert (series.instances, series.last_arrival_at) == (2, 101.0)
    assert [(one.sop_instance_uid, one.sha256) for one in kept] == [("1.1", "a" * 64), ("1.2", "a" * 64)]
    assert [line.sop_instance_uid for line in told] == ["1.1", "1.2"]
