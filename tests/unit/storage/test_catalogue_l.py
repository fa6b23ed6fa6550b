"""The ledger under stress (RELIABILITY.md, catalogue L), on both databases where both are meant.

``VB_NODE_LONG=1`` writes for ten minutes instead of two seconds; ``-s`` shows how long a write took.
"""

import fcntl
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from postgres import Postgres
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from storage import associations, audit, deliveries, jobs, stations
from storage.database import Database, has_wal_reset_fault
from storage.schema import Result

SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
PROCESSES, RATE = 16, 320
SECONDS = 600.0 if os.environ.get("VB_NODE_LONG") else 2.0
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER")


Paced = tuple[list[str], list[float]]  # of one process: what failed, and how many milliseconds each write took


def _pace(url: str, number: int, paced: "multiprocessing.Queue[Paced]") -> None:
    """Write, and read before it, at this process's share of the rate."""
    database, random = Database(url), Random(number)
    failures, took_ms = [], []
    begun = time.monotonic()
    for turn in range(int(SECONDS * RATE / PROCESSES)):
        time.sleep(max(0.0, begun + (turn + random.random()) * PROCESSES / RATE - time.monotonic()))
        asked = time.monotonic()
        try:
            with database.write() as session:
                audit.record(session, "paced", now=float(turn), actor=str(number))
        except DBAPIError as error:
            failures.append(str(error.orig))
        took_ms.append(1000 * (time.monotonic() - asked))
    paced.put((failures, took_ms))
    database.close()


def test_l_01_sixteen_processes_never_meet_a_busy_ledger(database: Database) -> None:
    fork = multiprocessing.get_context("fork")
    paced: multiprocessing.Queue[Paced] = fork.Queue()
    url = database.url.render_as_string(hide_password=False)
    writers = [fork.Process(target=_pace, args=(url, number, paced), daemon=True) for number in range(PROCESSES)]

    for writer in writers:
        writer.start()
    came = [paced.get(timeout=SECONDS + 300) for _ in writers]
    for writer in writers:
        writer.join()

    with database.read() as session:
        lines = audit.verify(session).lines
    took_ms = [one for _, some in came for one in some]
    at, name = statistics.quantiles(took_ms, n=100), database.url.get_backend_name()
    print(f"{name}, {len(took_ms)} writes in {SECONDS:g} s; ms: median {at[49]:.1f}, p99 {at[98]:.1f}, ", max(took_ms))
    assert [failure for failures, _ in came for failure in failures] == []
    assert lines == PROCESSES * int(SECONDS * RATE / PROCESSES)


@pytest.fixture
def traced() -> Iterator[list[tuple[int, str]]]:
    """Trace what every new SQLite connection is told: (connection, statement)."""
    told: list[tuple[int, str]] = []

    def trace(connection: object, _record: object) -> None:
        if hasattr(connection, "set_trace_callback"):
            connection.set_trace_callback(lambda words: told.append((id(connection), words.strip())))

    event.listen(Engine, "connect", trace)
    yield told
    event.remove(Engine, "connect", trace)


def _deferred_writes(told: list[tuple[int, str]]) -> list[str]:
    """Find the writes that stand in a transaction that did not begin IMMEDIATE."""
    begun: dict[int, str] = {}
    found = []
    for connection, words in told:
        verb = words.split()[0].upper()
        if verb == "BEGIN":
            begun[connection] = words.upper()
        elif verb in WRITES and begun.get(connection) != "BEGIN IMMEDIATE":
            found.append(words)
    return found


def test_l_02_every_writing_transaction_is_immediate(
    traced: list[tuple[int, str]], database: Database, arrive: Callable[..., bool], schedule: Callable[..., int]
) -> None:
    schedule()
    with database.write() as session:
        associations.note(session, {"a": associations.Brought("PACS", "h", 1.0)}, listener="receive 1")
        associations.end(session, "a", is_released=True, now=2.0)
        associations.interrupt(session, now=2.0)
        stations.start(session, "receive", now=1.0)
        claimed = jobs.claim(session, "work", lease_s=1, now=1e9)
        assert claimed is not None
        jobs.finish(session, claimed[1], "COMPLETED", [_result(claimed[0].id)], now=1e9, outcome={})
    with database.write() as session:
        delivery = deliveries.claim(session, "pacs", lease_s=1, now=1e9)
        assert delivery is not None
        deliveries.settle(session, delivery[1], deliveries.Told("stored"), now=1e9, patience_s=1)

    assert database.url.get_backend_name() == "postgresql" or len(traced) > 50
    assert _deferred_writes(traced) == []


@SQLITE_ONLY
def test_l_02_a_write_in_a_deferred_transaction_is_found_and_fails(
    traced: list[tuple[int, str]], database: Database
) -> None:
    with database.read() as session:
        stations.start(session, "receive", now=1.0)
        with pytest.raises(OperationalError, match="readonly"):
            session.flush()

    assert _deferred_writes(traced) != []


def _result(job_id: int) -> Result:
    return Result(
        sop_instance_uid="2.25.1",
        job_id=job_id,
        role="SEG",
        rank=0,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        series_instance_uid="2.25.9",
        path=f"{job_id}/1/0.dcm",
        sha256="c" * 64,
        created_at=300.0,
    )


def test_l_03_of_two_workers_that_both_finish_one_has_written(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    leases = []
    for owner, now in (("zombie", 210.0), ("heir", 250.0)):
        with database.write() as session:
            claimed = jobs.claim(session, owner, lease_s=30.0, now=now)
        assert claimed is not None
        leases.append(claimed[1])
    zombie, heir = leases

    with database.write() as session:
        jobs.finish(session, heir, "COMPLETED", [_result(heir.job_id)], now=260.0, outcome={"by": "heir"})
    with database.write() as session, pytest.raises(jobs.LostLease):
        jobs.finish(session, zombie, "COMPLETED", [_result(zombie.job_id)], now=261.0, outcome={"by": "zombie"})

    with database.read() as session:
        job = jobs.get(session, heir.job_id)
        assert (job.outcome, len(job.results)) == ({"by": "heir"}, 1)
        assert len(jobs.deliveries_of(session, job.id)) == 1


def test_l_04_without_a_heartbeat_a_job_is_claimed_again_after_its_lease(
    database: Database, schedule: Callable[..., int | None]
) -> None:
    schedule()
    with database.write() as session:
        first = jobs.claim(session, "deaf", lease_s=30.0, now=210.0)

    with database.write() as session:
        early = jobs.claim(session, "other", lease_s=30.0, now=239.0)
    with database.write() as session:
        second = jobs.claim(session, "other", lease_s=30.0, now=241.0)

    assert (early, first is not None, second is not None) == (None, True, True)
    assert first is not None
    with database.write() as session, pytest.raises(jobs.LostLease):
        jobs.keep(session, first[1], lease_s=30.0, now=242.0, step=None, progress=0.5)


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """Give a server that a test may crash."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


def _found(database: Database) -> list[str]:
    with database.read() as session:
        audit.verify(session)
        return [line.event for line in audit.search(session, since=None, until=None, limit=9)]


def _tell(database: Database, name: str) -> None:
    with database.write() as session:
        audit.record(session, name, now=1.0, actor="test")


def test_l_05_a_crashed_postgresql_comes_back_with_all_that_was_committed(own_server: Postgres) -> None:
    database = Database(own_server.fresh())
    _tell(database, "before")

    own_server.stop("immediate")
    with pytest.raises(DBAPIError):
        _tell(database, "during")
    own_server.start()
    _tell(database, "after")

    found = _found(database)
    database.close()
    assert found == ["before", "after"]


def test_l_05_a_killed_backend_leaves_nothing_and_the_next_write_works(postgres: Postgres) -> None:
    database = Database(postgres.fresh())

    def lose() -> None:
        with database.write() as session:
            audit.record(session, "lost", now=1.0, actor="test")
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DBAPIError):
        lose()
    _tell(database, "kept")

    found = _found(database)
    database.close()
    assert found == ["kept"]


@SQLITE_ONLY
def test_l_08_writers_hold_the_lock_that_keeps_commits_and_checkpoints_apart(database: Database) -> None:
    lock = Path(f"{database.url.database}.lock")

    with database.write() as session, lock.open("w") as other:
        stations.start(session, "receive", now=1.0)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("version", "has_fault"), [((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)])
def test_l_08_an_sqlite_with_the_fault_is_known_by_its_version(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], has_fault: bool
) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)

    assert has_wal_reset_fault() is has_fault


@SQLITE_ONLY
def test_l_10_a_reader_that_stays_stops_no_writer_and_sees_what_it_saw(database: Database) -> None:
    with database.read() as reader:
        before = audit.verify(reader).lines

        for turn in range(200):
            with database.write() as session:
                audit.record(session, "written meanwhile", now=float(turn), actor="writer")

        meanwhile = audit.verify(reader).lines
    with database.read() as later:
        after = audit.verify(later).lines
    assert (meanwhile - before, after - before) == (0, 200)
