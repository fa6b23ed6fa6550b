"""Which study may go, asked of both databases."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from storage import arrivals, associations, retention
from storage.database import Database
from storage.schema import Delivery, Instance, Job, Result, Series


@pytest.fixture
def delivered(database: Database, schedule: Callable[..., int | None]) -> int:
    """Put a closed study on the shelves whose one result was sent."""
    job_id = schedule()
    assert job_id is not None
    result = Result(
        sop_instance_uid="2.25.1",
        job_id=job_id,
        role="SEG",
        rank=0,
        sop_class_uid="1.2",
        series_instance_uid="2.25.9",
        path="1/1/0.dcm",
        sha256="c" * 64,
        created_at=300.0,
    )
    sent = Delivery(sop_instance_uid="2.25.1", job_id=job_id, destination="pacs", state="sent", created_at=1, due_at=1)
    with database.write() as session:
        session.execute(update(Series).values(closed_at=150.0))
        session.execute(update(Job).values(state="COMPLETED"))
        session.add(result)
        session.flush()
        session.add(sent)
    return job_id


def _oldest(database: Database, before: float = 1000.0, **words: object) -> str | None:
    with database.read() as session:
        return retention.oldest(session, before=before, **words)


def test_a_delivered_study_may_go_once(database: Database, delivered: int) -> None:
    before = _oldest(database)

    with database.write() as session:
        instances, results = retention.let_go(session, "1.2", "old", now=900.0)

    assert before == "1.2"
    assert ([one.sop_instance_uid for one in instances], [one.job_id for one in results]) == (["1.2.3.1"], [delivered])
    assert _oldest(database) is None


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (Delivery, {"state": "parked"}),
        (Delivery, {"state": "retry"}),
        (Job, {"state": "IN PROGRESS"}),
        (Series, {"closed_at": None}),
        (Series, {"last_arrival_at": 2000.0}),
    ],
)
def test_a_study_that_is_not_done_or_not_old_stays(
    database: Database, delivered: int, table: type[Delivery | Job | Series], values: dict[str, object]
) -> None:
    with database.write() as session:
        session.execute(update(table).values(**values))

    assert _oldest(database) is None


def test_a_destination_that_commits_keeps_what_was_only_sent(database: Database, delivered: int) -> None:
    with database.write() as session:
        session.execute(update(Delivery).values(commitment_due_at=400.0))

    assert _oldest(database, committing=("pacs",)) is None
    assert _oldest(database, committing=("other",)) == "1.2"


def test_what_was_sent_before_a_destination_committed_goes_as_it_did(database: Database, delivered: int) -> None:
    assert _oldest(database, committing=("pacs",)) == "1.2"


def test_what_was_let_go_and_comes_again_is_there_again(
    database: Database, delivered: int, arrive: Callable[..., bool]
) -> None:
    with database.write() as session:
        retention.let_go(session, "1.2", "old", now=900.0)
        is_seen = arrivals.see_again(session, "1.2.3.1", now=950.0)

    is_taken = arrive(now=960.0)

    with database.read() as session:
        (series,) = arrivals.open_series(session)
        assert session.get_one(Instance, "1.2.3.1").deleted_at is None
    assert (is_seen, is_taken, series.instances) == (False, True, 1)


def test_associations_are_counted_by_series_and_end_once_they_end(
    database: Database, arrive: Callable[..., bool]
) -> None:
    arrive()
    arrive("1.2.3.2")
    with database.write() as session:
        for name in ("a", "b"):
            associations.note(session, {name: associations.Brought("MR1", "h", 1.0)}, listener="receive 1")
        arrivals.see_again(session, "1.2.3.1", now=2.0, association_id="a")
        associations.end(session, "a", is_released=True, now=3.0)
        associations.interrupt(session, now=4.0)

    with database.read() as session:
        counted = associations.by_series(session, ["1.2.3"])
        ended = {one.id: (one.ended_at, one.is_released) for one in associations.get(session, ["a", "b"])}
    assert counted == {"1.2.3": {"a": 1, None: 1}}
    assert ended == {"a": (3.0, True), "b": (4.0, False)}
