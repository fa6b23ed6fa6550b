"""The node at its start: a ledger that is gone, damaged, of another version, or large (catalogue R)."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from factories import affine, head, mr_series, write
from postgres import Postgres
from processes import Node, free_port, storescu, wait_until
from sqlalchemy import create_engine, text

from storage import audit, chain, deliveries, jobs
from storage.database import MIGRATIONS, Database
from storage.schema import Delivery, Event, Instance, Job, JobInput, Series

MakeNode = Callable[..., Node]
READY_S = 30.0


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return write(mr_series(head((6, 16, 16)), affine((5.0, 5.0, 5.0))), tmp_path / "series")


def _ledger(node: Node) -> Path:
    return node.home / "data" / "ledger.db"


def _serve(node: Node) -> subprocess.CompletedProcess[str]:
    """Start a node that is expected to refuse."""
    words = [sys.executable, "-m", "vb_node", "serve", "--config", str(node.config)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def _received(node: Node) -> set[str]:
    return {str(event.sop_instance_uid) for event in node.events(event="instance received")}


def _remove(node: Node, *endings: str) -> None:
    for ending in endings:
        Path(f"{_ledger(node)}{ending}").unlink(missing_ok=True)


@pytest.mark.parametrize("lost", [("", "-wal", "-shm"), ("-wal", "-shm")], ids=["ledger", "wal"])
def test_r_16_a_lost_ledger_or_its_wal_is_rebuilt_from_the_spool(
    make_node: MakeNode, series: list[Path], lost: tuple[str, ...]
) -> None:
    node = make_node(free_port(), quiet_s=60)
    node.start()
    storescu(node, series)
    node.kill()

    _remove(node, *lost)
    node.start()
    wait_until(lambda: len(_received(node)) == len(series), READY_S, "every instance is on the shelf")

    assert _received(node) == {path.stem for path in series}


@pytest.mark.parametrize("place", ["head", "page"])
def test_r_16_a_damaged_ledger_is_refused_with_what_to_do(make_node: MakeNode, series: list[Path], place: str) -> None:
    node = make_node(free_port(), quiet_s=60)
    _ledger(node).parent.mkdir()
    database = Database(f"sqlite:///{_ledger(node)}")
    database.upgrade()
    with database.write() as session:
        for number in range(400):
            audit.record(session, "a", now=float(number), actor="test", details={"pad": "x" * 200})
    database.close()
    content = bytearray(_ledger(node).read_bytes())
    start = 0 if place == "head" else len(content) // 2 // 4096 * 4096
    content[start : start + 4096] = bytes(4096)
    _ledger(node).write_bytes(content)

    ended = _serve(node)

    assert ended.returncode == 2
    assert "is damaged" in ended.stderr
    assert "put your last backup in its place" in ended.stderr


def test_r_16_a_ledger_of_a_newer_version_is_refused_with_clear_text(make_node: MakeNode) -> None:
    node = make_node(free_port())
    _ledger(node).parent.mkdir()
    database = Database(f"sqlite:///{_ledger(node)}")
    database.upgrade()
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    ended = _serve(node)

    assert ended.returncode == 2
    assert "schema is 9999" in ended.stderr


def test_l_05_a_postgresql_that_would_lose_commits_at_a_power_cut_is_refused(make_node: MakeNode) -> None:
    server = Postgres()
    server.start()
    node = make_node(free_port())
    node.config.write_text(f'[node]\ndatabase = "{server.fresh()}"\n' + node.config.read_text().partition("\n\n")[2])
    try:
        ended = _serve(node)
    finally:
        server.remove()

    assert ended.returncode == 2, ended.stderr
    assert "fsync, full_page_writes off" in ended.stderr


def test_r_19_a_ledger_of_the_first_version_is_brought_up_with_all_its_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text(FIRST_SERIES))
        connection.execute(text(FIRST_INSTANCE))
        connection.execute(text(FIRST_EVENT), {"digest": "d" * 64, "previous": chain.ORIGIN})
        for number, state in enumerate(("SCHEDULED", "IN PROGRESS", "COMPLETED", "FAILED", "CANCELED")):
            connection.execute(text(FIRST_JOB), {"key": f"k{number}", "state": state})
        connection.execute(text(FIRST_INPUT))
        for number, state in enumerate(WAYS):
            connection.execute(text(FIRST_RESULT), {"uid": f"2.25.{number}"})
            words = {"uid": f"2.25.{number}", "state": state, "after": number or None}
            connection.execute(text(FIRST_DELIVERY), words)
    engine.dispose()
    database = Database(url)

    database.upgrade()
    with database.write() as session:
        audit.record(session, "after", now=2.0, actor="test")

    with database.read() as session:
        states = [job.state for job in jobs.listing(session)]
        instance = session.get_one(Instance, "1.2.3.1")
        lines = session.query(Event).order_by(Event.seq).all()
        ways = [delivery.state for delivery in session.query(Delivery).order_by(Delivery.id)]
        inputs = session.query(JobInput).count()
    due = _due(database)
    database.close()
    assert sorted(states) == ["CANCELED", "COMPLETED", "FAILED", "IN PROGRESS", "SCHEDULED"]
    assert (ways, inputs) == (list(WAYS), 1)
    assert due == ["pending", "retry"]  # what is being sent has its lease
    assert (instance.association_id, instance.deleted_at) == (None, None)
    assert [line.previous for line in lines] == [chain.ORIGIN, "d" * 64]


def _due(database: Database) -> list[str]:
    """Claim what may be sent now; give the states that it had."""
    with database.read() as session:
        before = {delivery.id: delivery.state for delivery in session.query(Delivery)}
    due = []
    with database.write() as session:
        while (claimed := deliveries.claim(session, "pacs", lease_s=30.0, now=3.0)) is not None:
            due.append(before[claimed[0].id])
    return due


WAYS = ("pending", "sending", "sent", "committed", "retry", "parked", "superseded")
FIRST_INPUT = "INSERT INTO job_inputs (job_id, sop_instance_uid, sha256) VALUES (3, '1.2.3.1', 'a')"
FIRST_RESULT = """
    INSERT INTO results (sop_instance_uid, job_id, role, rank, sop_class_uid, series_instance_uid, path, sha256,
        created_at)
    VALUES (:uid, 3, 'report', 0, '1.2', '2.25', :uid, 'b', 1)"""
FIRST_DELIVERY = """
    INSERT INTO deliveries (sop_instance_uid, job_id, destination, after_id, state, created_at, due_at, attempts,
        refusals, token, lease_until)
    VALUES (:uid, 3, 'pacs', :after, :state, 1, 2, 0, 0, 0, 1000)"""
FIRST_SERIES = """
    INSERT INTO series (series_instance_uid, study_instance_uid, patient_id, accession_number, instances,
        opened_at, last_arrival_at)
    VALUES ('1.2.3', '1.2', 'P', 'A', 1, 1, 1)"""
FIRST_INSTANCE = """
    INSERT INTO instances (sop_instance_uid, sop_class_uid, series_instance_uid, study_instance_uid, sha256,
        size_bytes, peer, received_at)
    VALUES ('1.2.3.1', '1.2', '1.2.3', '1.2', 'a', 10, 'PACS', 1)"""
FIRST_EVENT = """
    INSERT INTO events (at, event, outcome, actor, details, previous, digest)
    VALUES (1, 'before', 'success', 'test', '{}', :previous, :digest)"""
FIRST_JOB = """
    INSERT INTO jobs (key, application, version, route, plan, destinations, series_instance_uid, study_instance_uid,
        patient_id, accession_number, closed_by, state, priority, created_at, not_before, attempts, errors, token,
        progress)
    VALUES (:key, 'a', '1', 'r', '{}', '[]', '1.2.3', '1.2', 'P', 'A', 'quiet', :state, 0, 1, 0, 0, 0, 0, 0)"""


def test_r_18_a_ledger_of_twenty_thousand_jobs_is_ready_in_thirty_seconds(make_node: MakeNode) -> None:
    node = make_node(free_port())
    _ledger(node).parent.mkdir()
    database = Database(f"sqlite:///{_ledger(node)}")
    database.upgrade()
    with database.write() as session:
        session.bulk_insert_mappings(Series, [_series(number) for number in range(20_000)])
        session.bulk_insert_mappings(Job, [_job(number) for number in range(20_000)])
    database.close()

    begun = time.monotonic()
    node.start()

    assert time.monotonic() - begun < READY_S
    assert len(node.jobs()) == 100


def _series(number: int) -> dict[str, object]:
    keys = {"patient_id": f"P{number}", "accession_number": f"A{number}", "study_instance_uid": f"1.2.{number}"}
    times = {"opened_at": 1.0, "last_arrival_at": 1.0, "closed_at": 2.0, "closed_by": "quiet for 60 s"}
    return keys | times | {"series_instance_uid": f"1.2.{number}.1", "instances": 1}


def _job(number: int) -> dict[str, object]:
    own = {"key": f"k{number}", "state": "COMPLETED", "created_at": 2.0, "finished_at": 3.0, "destinations": []}
    made = {"application": "virtual_biopsy", "version": "1", "route": "r", "plan": {}}
    keys = {key: value for key, value in _series(number).items() if key.endswith(("uid", "id", "number", "_by"))}
    return own | made | keys
