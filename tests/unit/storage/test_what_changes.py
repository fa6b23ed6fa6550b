"""What changes without an error, on both databases."""

from collections.abc import Callable

from sqlalchemy import update

from storage import drift
from storage.database import Database
from storage.schema import Drift, Job


def _drift(score: str, distance: float) -> Drift:
    figures = {"p_value": 0.5, "recent": 50, "reference": 500, "is_drift": False, "at": 1.0}
    return Drift(route="r", score=score, distance=distance, **figures)


def test_what_was_found_last_takes_the_place_of_what_was_found_before(database: Database) -> None:
    for found in ([_drift("confidence", 0.1), _drift("novelty", 0.1)], [_drift("confidence", 0.2)]):
        with database.write() as session:
            drift.replace(session, found)

    with database.read() as session:
        assert [(one.score, one.distance) for one in drift.listing(session)] == [("confidence", 0.2)]


def test_a_series_counts_by_its_last_revision_alone(database: Database, schedule: Callable[..., int | None]) -> None:
    for key, finished_at in (("k1", 300.0), ("k2", 310.0)):
        schedule(key)
        with database.write() as session:
            values = {"state": "COMPLETED", "finished_at": finished_at, "outcome": {"confidence": 0.5}}
            session.execute(update(Job).where(Job.key == key).values(**values))

    with database.read() as session:
        found = drift.ended(session, since=0.0)
        assert [(one.route, one.finished_at, one.outcome) for one in found] == [("r", 310.0, {"confidence": 0.5})]
        assert drift.ended(session, since=311.0) == []


def test_a_description_is_counted_by_peer_with_the_route_that_took_it_last(database: Database) -> None:
    sent = [("MR1", "T1", "brains", 1.0), ("MR1", "T1", None, 3.0), ("MR1", "T1", None, 2.0), ("MR2", "T1", None, 4.0)]
    with database.write() as session:
        for peer, description, route, now in sent:
            drift.describe(session, peer, description, route, now=now)

    with database.read() as session:
        found = [(one.peer, one.route, one.series, one.first_at, one.last_at) for one in drift.descriptions(session)]
    assert found == [("MR1", None, 3, 1.0, 3.0), ("MR2", None, 1, 4.0, 4.0)]


def test_a_description_that_no_database_takes_is_kept_as_far_as_it_can_be_shown(database: Database) -> None:
    with database.write() as session:
        drift.describe(session, "MR1", "T1\x00\udcff POST" + "x" * 100, None, now=1.0)

    with database.read() as session:
        (found,) = drift.descriptions(session)
    assert found.description == "T1 POST" + "x" * 57
