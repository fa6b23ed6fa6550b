"""What lost attempts left in the results folder goes; what runs or is named stays."""

import time
from pathlib import Path

from pydicom.uid import generate_uid
from stations import House, series_of
from test_work import Copier

from storage import jobs
from storage.schema import Job
from vb_node.config import WorkSettings
from vb_node.runtime import leftovers
from vb_node.runtime.work import Worker


def _house(tmp_path: Path) -> House:
    house = House(tmp_path, {"copier": Copier()}, routes=[{"name": "r", "application": "copier"}])
    for _ in range(3):
        house.send(series_of(str(generate_uid()), 2))
        house.assemble()
    return house


def _attempt(results: Path, job_id: int, token: int) -> Path:
    folder = results / str(job_id) / str(token)
    folder.mkdir(parents=True)
    (folder / "0-sr.dcm").write_bytes(b"half")
    return folder


def test_what_lost_attempts_left_goes_and_nothing_else(tmp_path: Path) -> None:
    house, results = _house(tmp_path), tmp_path / "results"
    worker = Worker(house.database, house.spool, results, {"copier": Copier()}, WorkSettings(), "s")
    done, running, cancelled = (job.id for job in house.jobs())
    worker.step(time.time())
    with house.database.write() as session:
        for seconds in (0, 100):
            jobs.claim(session, "other", lease_s=10, now=time.time() + seconds)
        jobs.cancel(session, cancelled, now=time.time(), user="ann")
    lost = [_attempt(results, running, 1), _attempt(results, cancelled, 7), _attempt(results, done, 99)]
    kept = [_attempt(results, running, 2), results / str(done) / "1"]

    count = leftovers.sweep(house.database, results)

    assert count == len(lost)
    assert not [folder for folder in lost if folder.exists()]
    assert all(list(folder.glob("*.dcm")) for folder in kept)


def test_an_attempt_clears_up_after_earlier_ones_of_its_job(tmp_path: Path) -> None:
    house, results = _house(tmp_path), tmp_path / "results"
    worker = Worker(house.database, house.spool, results, {"copier": Copier()}, WorkSettings(), "s")
    first, second, _ = (job.id for job in house.jobs())
    with house.database.write() as session:
        jobs.claim(session, "killed", lease_s=1, now=time.time() - 10)
    left, others = _attempt(results, first, 1), _attempt(results, second, 1)

    worker.step(time.time())

    assert not left.exists()
    assert others.exists()
    assert [job.state for job in house.jobs()][:2] == ["COMPLETED", "SCHEDULED"]


def test_what_a_retry_wrote_again_under_the_same_uid_goes(tmp_path: Path) -> None:
    house, results = _house(tmp_path), tmp_path / "results"
    worker = Worker(house.database, house.spool, results, {"copier": Copier()}, WorkSettings(), "s")
    worker.step(time.time())
    first = house.jobs()[0]
    with house.database.write() as session:
        session.get_one(Job, first.id).state = "FAILED"
        jobs.retry(session, first.id, now=time.time(), user="ann")

    worker.step(time.time())

    assert [path.parent.name for path in results.rglob("*.dcm")] == ["1"]
