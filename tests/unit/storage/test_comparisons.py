"""Shadow jobs beside live ones, on both databases: what is due, with what it is compared, and what lets a study go."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, update

from storage import audit, comparisons, jobs, retention
from storage.database import Database
from storage.schema import Job, JobInput, Series

FIGURES = {"differs": ["class"], "dice": 0.9}


@pytest.fixture
def pair(database: Database, schedule: Callable[..., int | None]) -> tuple[int, int]:
    """Give a live job and a shadow job of the same images, both COMPLETED."""
    live, shadow = schedule("live"), schedule("shadow", is_shadow=True)
    assert live is not None
    assert shadow is not None
    _end(database, live, at=300.0)
    _end(database, shadow, at=310.0)
    return live, shadow


def _end(database: Database, job_id: int, state: str = "COMPLETED", at: float | None = None) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(state=state, finished_at=at))
        session.execute(update(Series).values(closed_at=150.0))


def _due(database: Database) -> int | None:
    with database.read() as session:
        job = comparisons.due(session)
        return job and job.id


def _record(database: Database, shadow: int, live: int | None, now: float = 400.0) -> None:
    with database.write() as session:
        beside = None if live is None else session.get_one(Job, live)
        comparisons.record(session, session.get_one(Job, shadow), beside, FIGURES, is_disagreement=True, now=now)


def _may_go(database: Database, *, is_delivered: bool = False) -> bool:
    with database.read() as session:
        return retention.oldest(session, before=1000.0, is_delivered=is_delivered) is not None


def test_a_shadow_job_is_compared_once_with_the_live_one_of_the_same_images(
    database: Database, pair: tuple[int, int]
) -> None:
    live, shadow = pair
    with database.read() as session:
        job = comparisons.due(session)
        beside = job and comparisons.counterpart(session, job)

    _record(database, shadow, live)

    assert (job and job.id, beside and beside.id) == (shadow, live)
    assert _due(database) is None
    with database.read() as session:
        (event,) = audit.search(session, since=None, until=None, limit=10, event="shadow compared")
        assert (event.job_id, event.details["live"]) == (shadow, live)
        assert comparisons.counts(session) == {("r", True): 1}


def test_it_waits_while_a_live_job_of_its_series_is_under_way(database: Database, pair: tuple[int, int]) -> None:
    _end(database, pair[0], "IN PROGRESS")

    assert _due(database) is None


@pytest.mark.parametrize("again", [0, 1], ids=["live", "shadow"])
def test_a_job_that_ran_again_is_compared_again(database: Database, pair: tuple[int, int], again: int) -> None:
    live, shadow = pair
    _record(database, shadow, live)

    _end(database, pair[again], at=500.0)

    assert _due(database) == shadow
    _record(database, shadow, live, now=600.0)
    assert _due(database) is None


def test_a_live_job_of_another_series_is_none_to_compare_with(database: Database, pair: tuple[int, int]) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == pair[0]).values(series_instance_uid="1.2.4"))

    with database.read() as session:
        assert comparisons.counterpart(session, jobs.get(session, pair[1])) is None


def test_a_live_job_of_fewer_images_is_none_to_compare_with(database: Database, pair: tuple[int, int]) -> None:
    with database.write() as session:
        session.execute(delete(JobInput).where(JobInput.job_id == pair[0]))

    with database.read() as session:
        assert comparisons.counterpart(session, jobs.get(session, pair[1])) is None


def test_the_list_is_asked_by_disagreement_route_and_time(database: Database, pair: tuple[int, int]) -> None:
    _record(database, pair[1], pair[0])

    asked: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({"is_disagreement": False}, 0),
        ({"route": "other"}, 0),
        ({"since": 401.0}, 0),
        ({"until": 401.0, "since": 400.0, "is_disagreement": True, "route": "r"}, 1),
        ({"before": pair[1]}, 0),
    ]

    with database.read() as session:
        assert [len(comparisons.listing(session, **words)) for words, _ in asked] == [count for _, count in asked]


def test_a_study_with_a_shadow_result_goes_when_it_was_compared_and_not_before(
    database: Database, pair: tuple[int, int]
) -> None:
    before = _may_go(database)

    _record(database, pair[1], pair[0])

    assert (before, _may_go(database)) == (False, True)


def test_a_study_whose_shadow_job_had_no_live_one_goes_when_its_days_are_over_and_not_before(
    database: Database, pair: tuple[int, int]
) -> None:
    _end(database, pair[0], "CANCELED", at=300.0)
    _record(database, pair[1], None)

    assert _may_go(database)
    assert not _may_go(database, is_delivered=True)


def test_above_the_watermark_a_compared_shadow_result_keeps_no_study(database: Database, pair: tuple[int, int]) -> None:
    _end(database, pair[0], "CANCELED", at=300.0)
    _record(database, pair[1], pair[0])

    assert _may_go(database, is_delivered=True)
