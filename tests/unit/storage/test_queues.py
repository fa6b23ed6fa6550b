"""How much waits on each shelf, and since when, on both databases."""

from collections.abc import Callable

from storage import arrivals, deliveries, jobs, outages
from storage.database import Database
from storage.deliveries import Queue, Told
from storage.schema import Result


def _complete(database: Database, results: int) -> None:
    """Complete the job that waits, with so many results for each of its destinations."""
    with database.write() as session:
        claimed = jobs.claim(session, "me", lease_s=30, now=201.0)
        assert claimed is not None
        made = [
            Result(
                sop_instance_uid=f"2.25.{number}",
                job_id=claimed[0].id,
                role="key image",
                rank=number,
                sop_class_uid="1.2",
                series_instance_uid="2.25",
                path=str(number),
                sha256="0" * 64,
                created_at=202.0,
            )
            for number in range(results)
        ]
        jobs.finish(session, claimed[1], "COMPLETED", made, now=202.0, outcome={})


def test_series_that_are_open_are_counted(database: Database, arrive: Callable[..., bool]) -> None:
    arrive("1.2.3.1", series="1.2.3", now=100.0)
    arrive("1.2.4.1", series="1.2.4", now=90.0)

    with database.write() as session:
        both = arrivals.open_since(session)
        for series in arrivals.open_series(session):
            arrivals.close(session, series, "released", now=110.0)
        none = arrivals.open_since(session)

    assert (both, none) == ((2, 90.0), (0, None))


def test_deliveries_that_are_not_done_are_counted_by_destination_and_state(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule(destinations=("pacs", "other"))
    _complete(database, results=2)
    with database.write() as session:
        claimed = deliveries.claim(session, "pacs", lease_s=30, now=203.0)
        assert claimed is not None
        deliveries.settle(session, claimed[1], Told("stored"), now=204.0, patience_s=60)

    with database.read() as session:
        found = deliveries.queues(session)

    assert found == {("pacs", "pending"): Queue(1, 202.0), ("other", "pending"): Queue(2, 202.0)}


def test_a_delivery_is_found_by_its_number(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    _complete(database, results=1)

    with database.read() as session:
        delivery, none = deliveries.find(session, 1), deliveries.find(session, 2)

    assert delivery is not None
    assert delivery.result.role == "key image"
    assert none is None


def test_destinations_that_are_down_are_listed(database: Database) -> None:
    with database.write() as session:
        outages.keep(session, "pacs", "no answer", now=100.0)
        outages.keep(session, "archive", "refused", now=101.0)

    with database.read() as session:
        found = [(one.destination, one.since) for one in outages.listing(session)]

    assert found == [("archive", 101.0), ("pacs", 100.0)]
