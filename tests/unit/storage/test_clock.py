"""A clock that is put forward or back, or passes 2038, under leases and the audit trail (R-15), on both databases."""

from collections.abc import Callable

import pytest

from storage import audit, jobs
from storage.database import Database

HOUR_S, LEASE_S = 3600.0, 30.0
NOW, AFTER_2038 = 1_800_000_000.0, float(2**31 + 10)


def _claim(database: Database, owner: str, now: float) -> jobs.Lease:
    with database.write() as session:
        claimed = jobs.claim(session, owner, lease_s=LEASE_S, now=now)
    assert claimed is not None
    return claimed[1]


def _finish(database: Database, lease: jobs.Lease, now: float) -> None:
    with database.write() as session:
        jobs.finish(session, lease, "COMPLETED", [], now=now, outcome={})


def test_r_15_a_clock_put_forward_lets_one_worker_take_over_and_one_end_counts(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule(now=NOW)
    first = _claim(database, "first", NOW)

    second = _claim(database, "second", NOW + HOUR_S)

    with pytest.raises(jobs.LostLease):
        _finish(database, first, NOW + HOUR_S)
    _finish(database, second, NOW + HOUR_S)


def test_r_15_a_clock_put_back_holds_up_no_new_job(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule(now=NOW)

    lease = _claim(database, "worker", NOW - HOUR_S)

    _finish(database, lease, NOW - HOUR_S)


def test_r_15_the_audit_trail_is_in_order_whatever_the_clock_says(database: Database) -> None:
    moments = [NOW, NOW + HOUR_S, NOW - HOUR_S, AFTER_2038, NOW]

    for number, now in enumerate(moments):
        with database.write() as session:
            audit.record(session, f"event {number}", now=now, actor="clock")

    with database.read() as session:
        told = [(line.event, line.at) for line in audit.search(session, since=None, until=None, limit=10)]
        lines = audit.verify(session).lines
    assert told == [(f"event {number}", now) for number, now in enumerate(moments)]
    assert lines == len(moments)


def test_r_15_a_lease_beyond_2038_lasts_and_lapses(database: Database, schedule: Callable[..., int | None]) -> None:
    schedule(now=AFTER_2038)
    _claim(database, "first", AFTER_2038)

    with database.write() as session:
        early = jobs.claim(session, "second", lease_s=LEASE_S, now=AFTER_2038 + LEASE_S - 1)

    assert early is None
    _claim(database, "second", AFTER_2038 + LEASE_S + 1)
