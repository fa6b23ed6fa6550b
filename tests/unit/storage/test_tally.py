"""What the audit trail has gained, counted by both databases."""

from collections.abc import Callable

from storage import audit, jobs, tally
from storage.database import Database


def test_lines_are_counted_by_event_and_peer(database: Database, arrive: Callable[..., bool]) -> None:
    arrive("1.2.3.1")
    with database.read() as session:
        before = tally.end(session)
    arrive("1.2.3.2", now=101.0)
    arrive("1.2.3.3", now=102.0)

    with database.read() as session:
        last = tally.end(session)
        found = tally.events(session, before, last)

    assert found == [("instance received", "PACS", 2, 102.0)]


def test_refusals_are_counted_by_status(database: Database) -> None:
    with database.write() as session:
        for status in ("A900", "A900", "C004"):
            audit.record(session, "instance refused", now=1.0, actor="receive", details={"status": status})

    with database.read() as session:
        assert tally.refusals(session, 0, tally.end(session)) == {"A900": 2, "C004": 1}


def test_outcomes_of_completed_jobs_are_told(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    with database.write() as session:
        claimed = jobs.claim(session, "me", lease_s=30, now=201.0)
        assert claimed is not None
        jobs.finish(session, claimed[1], "COMPLETED", [], now=202.0, outcome={"seconds": {"localise": 1.5}})

    with database.read() as session:
        found = tally.outcomes(session, 0, tally.end(session))
        counts = jobs.counts(session)

    assert found == [("virtual_biopsy", {"seconds": {"localise": 1.5}})]
    assert counts == dict.fromkeys(counts, 0) | {"COMPLETED": 1}


def test_jobs_are_listed_by_exact_values_and_read_on(database: Database, schedule: Callable[..., int | None]) -> None:
    for number in range(5):
        schedule(f"k{number}", series=f"1.2.3.{number}", now=200.0 + number)

    with database.read() as session:
        first = jobs.listing(session, limit=2, patient_id="P1")
        then = jobs.listing(session, limit=2, before=first[-1].id)
        spanned = jobs.listing(session, since=201.0, until=203.0)
        none = jobs.listing(session, patient_id="P_")
        waiting_since = jobs.waiting_since(session)

    assert [job.created_at for job in (*first, *then)] == [204.0, 203.0, 202.0, 201.0]
    assert [job.created_at for job in spanned] == [202.0, 201.0]
    assert none == []
    assert waiting_since == 200.0
