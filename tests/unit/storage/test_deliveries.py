"""The shelf DELIVERIES: in order, with patience, never dropped."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from storage import audit, deliveries, jobs
from storage.database import Database
from storage.schema import Delivery, Event, Result

HOURS_72 = 72 * 3600.0


@pytest.fixture
def pair(database: Database, schedule: Callable[..., int | None]) -> Database:
    """A SEG and an SR on their way to one destination."""
    schedule()
    with database.write() as session:
        claimed = jobs.claim(session, "work 1", lease_s=30.0, now=210.0)
        assert claimed is not None
        job, lease = claimed
        results = [
            Result(
                sop_instance_uid=f"2.25.{rank}",
                job_id=job.id,
                role=role,
                rank=rank,
                sop_class_uid="1.2",
                series_instance_uid="2.25.9",
                path=f"{rank}.dcm",
                sha256="c" * 64,
                created_at=300.0,
            )
            for rank, role in enumerate(["SEG", "SR"])
        ]
        jobs.finish(session, lease, "COMPLETED", results, now=300.0, outcome={})
    return database


def _claim(database: Database, now: float) -> tuple[Delivery, deliveries.Lease] | None:
    with database.write() as session:
        return deliveries.claim(session, "pacs", lease_s=60.0, now=now)


def _settle(database: Database, lease: deliveries.Lease, answer: deliveries.Answer, now: float) -> Delivery:
    with database.write() as session:
        return deliveries.settle(session, lease, deliveries.Told(answer), now=now, patience_s=HOURS_72)


def _take(database: Database, now: float) -> deliveries.Lease:
    claimed = _claim(database, now)
    assert claimed is not None
    return claimed[1]


def _states(database: Database) -> list[str]:
    with database.read() as session:
        return [one.state for one in session.scalars(select(Delivery).order_by(Delivery.id))]


def _events(database: Database, event: str) -> list[Event]:
    with database.read() as session:
        return list(audit.search(session, since=None, until=None, limit=100, event=event))


def test_the_report_waits_for_the_segmentation_that_it_names(pair: Database) -> None:
    first = _claim(pair, 301.0)
    meanwhile = _claim(pair, 301.0)

    assert first is not None
    assert first[0].result.role == "SEG"
    assert meanwhile is None

    _settle(pair, first[1], "stored", 302.0)
    second = _claim(pair, 303.0)

    assert second is not None
    assert second[0].result.role == "SR"


def test_a_parked_segmentation_does_not_hold_up_the_report(pair: Database) -> None:
    _settle(pair, _take(pair, 301.0), "impossible", 302.0)

    second = _claim(pair, 303.0)

    assert second is not None
    assert second[0].result.role == "SR"


def test_a_busy_destination_is_asked_again_slower_and_slower(pair: Database) -> None:
    now, waits = 301.0, []
    for _ in range(8):
        settled = _settle(pair, _take(pair, now), "busy", now)
        waits.append(settled.due_at - now)
        now = settled.due_at

    assert settled.state == "retry"
    assert waits[0] < 40
    assert waits[0] < waits[2] < waits[4]
    assert max(waits) <= 1.2 * deliveries.LONGEST_WAIT_S


def test_patience_ends_parked_not_dropped(pair: Database) -> None:
    settled = _settle(pair, _take(pair, 301.0), "busy", 300.0 + HOURS_72)

    assert settled.state == "parked"


def test_a_refusal_is_tried_three_times_an_hour_apart(pair: Database) -> None:
    now, states = 301.0, []
    for _ in range(3):
        settled = _settle(pair, _take(pair, now), "refused", now)
        states.append(settled.state)
        now += deliveries.REFUSAL_WAIT_S

    assert states == ["retry", "retry", "parked"]


def test_a_dead_sender_is_taken_over_and_fenced_off(pair: Database) -> None:
    dead = _take(pair, 301.0)

    heir = _take(pair, 400.0)

    with pytest.raises(deliveries.LostLease):
        _settle(pair, dead, "stored", 401.0)
    assert _settle(pair, heir, "stored", 402.0).state == "sent"


def test_a_kept_delivery_is_not_taken_over(pair: Database) -> None:
    lease = _take(pair, 301.0)

    with pair.write() as session:
        deliveries.keep(session, lease, lease_s=60.0, now=390.0)

    assert _claim(pair, 400.0) is None
    assert _claim(pair, 451.0) is not None


def test_a_delivery_that_lost_its_sender_may_have_got_through(pair: Database) -> None:
    _take(pair, 301.0)

    claimed = _claim(pair, 400.0)

    assert claimed is not None
    assert claimed[0].is_unsure


def test_a_destination_that_is_not_configured_is_named(pair: Database) -> None:
    with pair.read() as session:
        lost = deliveries.without_destination(session, ["research"])

    assert lost == ["pacs"]


def test_all_that_is_parked_goes_again_in_order_and_is_one_event(pair: Database) -> None:
    for _ in range(2):
        _settle(pair, _take(pair, 301.0), "impossible", 302.0)

    with pair.write() as session:
        count = deliveries.send_all_again(session, "pacs", now=400.0, user="olga")

    (event,) = _events(pair, "deliveries resumed")
    assert (count, event.user, event.peer, event.details) == (2, "olga", "pacs", {"count": 2})
    first = _claim(pair, 401.0)
    assert first is not None
    assert (first[0].result.role, first[0].attempts, first[0].created_at) == ("SEG", 1, 400.0)


def test_what_is_not_parked_or_goes_elsewhere_is_left_alone(pair: Database) -> None:
    _settle(pair, _take(pair, 301.0), "impossible", 302.0)
    _settle(pair, _take(pair, 303.0), "stored", 304.0)

    with pytest.raises(deliveries.NotParked, match="nothing is parked for elsewhere"), pair.write() as session:
        deliveries.send_all_again(session, "elsewhere", now=400.0, user="olga")
    with pair.write() as session:
        count = deliveries.send_all_again(session, "pacs", now=400.0, user="olga")

    assert count == 1
    assert _states(pair) == ["pending", "sent"]
