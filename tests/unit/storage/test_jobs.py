"""The shelf JOBS: one job a key, one worker a job, and no way to write without the lease."""

from collections.abc import Callable

import pytest

from storage import audit, deliveries, jobs
from storage.database import Database
from storage.schema import Delivery, Result


def _result(job_id: int, uid: str = "2.25.1", rank: int = 0, role: str = "SEG") -> Result:
    return Result(
        sop_instance_uid=uid,
        job_id=job_id,
        role=role,
        rank=rank,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        series_instance_uid="2.25.9",
        path=f"{job_id}/1/{rank}.dcm",
        sha256="c" * 64,
        created_at=300.0,
    )


def _claim(database: Database, now: float = 210.0, owner: str = "work 1") -> jobs.Lease:
    with database.write() as session:
        claimed = jobs.claim(session, owner, lease_s=30.0, now=now)
    assert claimed is not None
    return claimed[1]


def test_the_same_key_never_runs_twice(schedule: Callable[..., int | None]) -> None:
    first, second = schedule("k1"), schedule("k1")

    assert first is not None
    assert second is None


def test_a_shadow_job_waits_for_all_that_are_sent(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule("shadow", priority=9, is_shadow=True)
    live = schedule("live")

    claimed = _claim(database)

    assert claimed.job_id == live


def test_a_shadow_job_supersedes_no_job_that_is_sent(database: Database, schedule: Callable[..., int | None]) -> None:
    live, shadow = schedule("live"), schedule("shadow", is_shadow=True)
    revised = schedule("shadow revised", is_shadow=True)

    with database.read() as session:
        found = {job.id: (job.state, job.supersedes_id) for job in jobs.listing(session)}
    assert found == {live: ("SCHEDULED", None), shadow: ("CANCELED", None), revised: ("SCHEDULED", shadow)}


def test_a_job_is_claimed_by_one_worker_only(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()

    _claim(database)

    with database.write() as session:
        assert jobs.claim(session, "work 2", lease_s=30.0, now=211.0) is None


def test_the_most_urgent_job_is_claimed_first(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule("calm")
    urgent = schedule("urgent", series="1.2.4", priority=5)

    lease = _claim(database)

    assert lease.job_id == urgent


def test_a_lost_lease_is_claimed_again_and_the_zombie_is_fenced_off(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    zombie = _claim(database)

    heir = _claim(database, now=250.0, owner="work 2")

    assert heir.token == zombie.token + 1
    with database.write() as session, pytest.raises(jobs.LostLease):
        jobs.finish(session, zombie, "COMPLETED", [_result(zombie.job_id)], now=260.0, outcome={})
    with database.write() as session, pytest.raises(jobs.LostLease):
        jobs.keep(session, zombie, lease_s=30.0, now=260.0, step=None, progress=0.0)
    with database.read() as session:
        assert jobs.get(session, heir.job_id).results == []


def test_a_key_image_waits_for_no_other_object(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    lease = _claim(database)
    roles = ("SEG", "SR", "KEY")
    results = [_result(lease.job_id, f"2.25.{rank}", rank, role) for rank, role in enumerate(roles)]

    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", results, now=300.0, outcome={})

    with database.read() as session:
        segmentation, report, picture = jobs.deliveries_of(session, lease.job_id)
        assert (segmentation.after_id, report.after_id, picture.after_id) == (None, segmentation.id, None)


def test_a_destination_is_not_sent_the_classes_that_it_leaves_out(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    lease = _claim(database)
    picture = _result(lease.job_id, "2.25.3", 2, "KEY")
    picture.sop_class_uid = "1.2.840.10008.5.1.4.1.1.7"
    results = [_result(lease.job_id), picture]

    with database.write() as session:
        left_out = {"pacs": {results[0].sop_class_uid}, "elsewhere": {picture.sop_class_uid}}
        jobs.finish(session, lease, "COMPLETED", results, now=300.0, outcome={}, left_out=left_out)

    with database.read() as session:
        assert [one.role for one in jobs.get(session, lease.job_id).results] == ["SEG", "KEY"]
        assert [one.sop_instance_uid for one in jobs.deliveries_of(session, lease.job_id)] == ["2.25.3"]


def test_a_kept_lease_is_not_claimed(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    lease = _claim(database)

    with database.write() as session:
        jobs.keep(session, lease, lease_s=30.0, now=235.0, step="process", progress=0.3)

    with database.write() as session:
        assert jobs.claim(session, "work 2", lease_s=30.0, now=250.0) is None
        assert jobs.get(session, lease.job_id).step == "process"


def test_a_finished_job_has_its_results_and_deliveries_in_one_transaction(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule(destinations=("pacs", "research"))
    lease = _claim(database)
    results = [_result(lease.job_id), _result(lease.job_id, "2.25.2", 1, "SR")]

    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", results, now=300.0, outcome={"state": "localised"})

    with database.read() as session:
        job = jobs.get(session, lease.job_id)
        sent = jobs.deliveries_of(session, lease.job_id)
        assert (job.state, [result.role for result in job.results]) == ("COMPLETED", ["SEG", "SR"])
        assert [(delivery.destination, delivery.after_id is None) for delivery in sent] == [
            ("pacs", True),
            ("pacs", False),
            ("research", True),
            ("research", False),
        ]


def test_a_job_that_is_given_back_waits_before_it_is_claimed_again(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    lease = _claim(database)

    with database.write() as session:
        jobs.give_back(session, lease, now=300.0, wait_s=30.0, reason="Later", detail="no GPU", is_error=True)

    with database.write() as session:
        assert jobs.claim(session, "work 2", lease_s=30.0, now=320.0) is None
        claimed = jobs.claim(session, "work 2", lease_s=30.0, now=331.0)
        assert claimed is not None
        assert (claimed[0].attempts, claimed[0].errors) == (2, 1)


def test_a_job_of_more_slices_supersedes_the_one_before(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    first = schedule("k1")
    lease = _claim(database)
    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", [_result(lease.job_id, role="SR")], now=300.0, outcome={})

    second = schedule("k2", now=400.0)

    with database.read() as session:
        assert second is not None
        job = jobs.get(session, second)
        assert job.supersedes_id == first
        assert [result.sop_instance_uid for result in jobs.earlier_results(session, job, "SR")] == ["2.25.1"]


def test_a_superseded_job_that_has_not_begun_is_cancelled(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    first = schedule("k1")

    second = schedule("k2", now=400.0)

    with database.read() as session:
        assert first is not None
        assert second is not None
        assert (jobs.get(session, first).state, jobs.get(session, second).supersedes_id) == ("CANCELED", first)


def test_a_revision_waits_for_the_job_that_it_supersedes(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule("k1")
    first = _claim(database)
    second = schedule("k2", now=215.0)

    with database.write() as session:
        assert jobs.claim(session, "work 2", lease_s=30.0, now=220.0) is None
        jobs.finish(session, first, "COMPLETED", [], now=230.0, outcome={})

    assert _claim(database, now=231.0).job_id == second


def test_a_revision_waits_for_the_one_before_its_predecessor_that_was_cancelled_while_it_waited(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule("k1")
    first = _claim(database)
    schedule("k2", now=215.0)
    third = schedule("k3", now=216.0)

    with database.write() as session:
        assert jobs.claim(session, "work 2", lease_s=30.0, now=220.0) is None
        jobs.finish(session, first, "COMPLETED", [], now=230.0, outcome={})

    assert _claim(database, now=231.0).job_id == third


def test_a_cancelled_job_cannot_be_finished_and_can_be_retried(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    lease = _claim(database)

    with database.write() as session:
        jobs.cancel(session, lease.job_id, now=220.0, user="ann")
    with database.write() as session, pytest.raises(jobs.LostLease):
        jobs.finish(session, lease, "COMPLETED", [], now=230.0, outcome={})
    with database.write() as session:
        jobs.retry(session, lease.job_id, now=240.0, user="ann")

    assert _claim(database, now=250.0).token > lease.token


def test_a_completed_job_with_nothing_parked_is_not_retried(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    lease = _claim(database)
    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", [], now=300.0, outcome={})

    with database.write() as session, pytest.raises(jobs.NotNow, match="nothing to retry"):
        jobs.retry(session, lease.job_id, now=310.0, user="ann")


def test_a_retry_resumes_what_is_parked(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    lease = _claim(database)
    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", [_result(lease.job_id)], now=300.0, outcome={})
        claimed = deliveries.claim(session, "pacs", lease_s=60.0, now=301.0)
        assert claimed is not None
        deliveries.settle(session, claimed[1], deliveries.Told("impossible"), now=302.0, patience_s=0.0)

    with database.write() as session:
        jobs.retry(session, lease.job_id, now=310.0, user="ann")

    with database.read() as session:
        assert session.get_one(Delivery, 1).state == "pending"


def test_every_change_of_state_is_in_the_audit_trail(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule()
    lease = _claim(database)
    with database.write() as session:
        jobs.give_up(session, lease, now=300.0, reason="NoBrain", detail="no brain")

    with database.read() as session:
        told = [event.event for event in audit.search(session, since=None, until=None, limit=10, job_id=lease.job_id)]
    assert told == ["job scheduled", "job claimed", "job failed"]
