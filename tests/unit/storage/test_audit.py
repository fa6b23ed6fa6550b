"""The audit trail: found by its words, and an edit shows."""

from random import Random

import pytest
from sqlalchemy import delete, inspect, select, text, update
from sqlalchemy.orm import Session

from storage import audit
from storage.database import Database
from storage.schema import AuditHead, Event

COLUMNS = sorted({column.name for column in inspect(Event).columns} - {"seq"})


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
        lines, seq, digest = audit.verify(session)
        last = session.get_one(Event, seq)

    assert (lines, digest) == (3, last.digest)


def test_an_empty_trail_is_whole(database: Database) -> None:
    with database.read() as session:
        assert audit.verify(session) == (0, 0, audit.ORIGIN)


def test_l_09_a_thousand_random_edits_are_all_found(database: Database) -> None:
    random = Random(9)
    for now in range(20):
        _tell(database, "a", float(now), patient_id=f"P{now}", accession_number="A1", job_id=now, user="u")

    missed = [number for number in range(1000) if not _is_found(database, random)]

    assert missed == []


def _is_found(database: Database, random: Random) -> bool:
    """Change the trail in one way, verify it, and take the change back."""
    with Session(database._writer) as session:
        _tamper(session, random)
        try:
            audit.verify(session)
        except audit.Broken:
            return True
        finally:
            session.rollback()
    return False


def _tamper(session: Session, random: Random) -> None:
    kind = random.choice(["column", "delete", "cut", "swap", "put on", "head"])
    seqs = list(session.scalars(select(Event.seq).order_by(Event.seq)))
    seq = random.choice(seqs)
    if kind == "column":
        column = random.choice(COLUMNS)
        changed = {"at": 0.5, "job_id": 99, "details": {"n": -1}}.get(column, "x" * 16)
        session.execute(update(Event).where(Event.seq == seq).values({column: changed}))
    elif kind == "delete":
        session.execute(delete(Event).where(Event.seq == seq))
    elif kind == "cut":
        session.execute(delete(Event).where(Event.seq >= seq))
    elif kind == "swap":
        other = random.choice([one for one in seqs if one != seq])
        for old, new in ((seq, -1), (other, seq), (-1, other)):
            session.execute(update(Event).where(Event.seq == old).values(seq=new))
    elif kind == "put on":
        last = session.get_one(Event, seqs[-1])
        line = Event(
            seq=seqs[-1] + 1, at=99.0, event="a", outcome="success", actor="t", details={}, previous=last.digest
        )
        line.digest = audit.digest_of(line)
        session.add(line)
    else:
        session.execute(update(AuditHead).values(digest="0" * 64))
    session.flush()
