"""The audit trail: found by its words, and an edit shows."""

import pytest
from chaos.trail import fill, missed
from sqlalchemy import select, text

from storage import audit
from storage.chain import ORIGIN, Part
from storage.database import Database
from storage.schema import Event


def _tell(database: Database, event: str, now: float, **keys: object) -> None:
    with database.write() as session:
        audit.record(session, event, now=now, actor="test", details={"n": now}, **keys)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"patient_id": "P1"}, [1.0]),
        ({"event": "b"}, [2.0]),
        ({"job_id": 7}, [2.0]),
        ({}, [1.0, 2.0]),
        ({"peer": "X' OR 1=1"}, []),
    ],
)
def test_a_line_is_found_by_its_words(database: Database, keys: dict[str, object], found: list[float]) -> None:
    _tell(database, "a", 1.0, patient_id="P1")
    _tell(database, "b", 2.0, job_id=7)

    with database.read() as session:
        lines = audit.search(session, since=None, until=None, limit=10, **keys)

    assert [line.at for line in lines] == found


def test_since_and_until_bound_the_time(database: Database) -> None:
    for now in (1.0, 2.0, 3.0):
        _tell(database, "a", now)

    with database.read() as session:
        lines = audit.search(session, since=2.0, until=3.0, limit=10)

    assert [line.at for line in lines] == [2.0]


def test_an_edited_line_no_longer_fits_its_digest(database: Database) -> None:
    _tell(database, "a", 1.0)
    _tell(database, "b", 2.0)
    with database.write() as session:
        session.execute(text("UPDATE events SET actor = 'nobody' WHERE seq = 1"))

    with database.read() as session:
        first, second = session.scalars(select(Event).order_by(Event.seq)).all()

    assert audit.digest_of(first) != first.digest
    assert audit.digest_of(second) == second.digest
    assert second.previous == first.digest


def test_an_untouched_trail_is_verified_to_its_last_line(database: Database) -> None:
    for now in (1.0, 2.0, 3.0):
        _tell(database, "a", now, patient_id="Müller^Jörg", job_id=7)

    with database.read() as session:
        trail = audit.verify(session)
        last = session.get_one(Event, trail.last)

    assert (trail.lines, trail.digest) == (3, last.digest)


def test_an_empty_trail_is_whole(database: Database) -> None:
    with database.read() as session:
        assert audit.verify(session) == Part(0, ORIGIN, 0, ORIGIN)


def test_l_09_a_thousand_random_edits_are_all_found(database: Database) -> None:
    fill(database, 20)

    assert missed(database, edits=1000, seed=9) == []
