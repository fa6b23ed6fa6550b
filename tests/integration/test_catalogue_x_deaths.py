"""Catalogue X-14: computations that die or never return, by real processes over a real ledger."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cells import saboteur_installed
from plugins.saboteur import Saboteur
from processes import wait_until
from pydicom.uid import generate_uid
from stations import House, series_of

from storage import jobs
from storage.schema import Job
from vb_node.config import WorkSettings
from vb_node.runtime.cell import Cell, in_cell
from vb_node.runtime.work import Worker

SOON_S, HOUR = 60.0, 3600.0


class Workshop(House):
    """A house with a worker whose applications run in cells."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.stop = threading.Event()
        super().__init__(root, {"saboteur": Saboteur()}, routes=[{"name": "r", "application": "saboteur"}])
        work = WorkSettings(**{"memory_gb": 1, "max_runtime_s": 60, "lease_s": 3} | settings)
        self.cell = Cell(root / "cells", work)
        self.alone = Cell(root / "cells", work, share=0.5, is_kept=False)
        each = in_cell(["saboteur"], self.cell), in_cell(["saboteur"], self.alone)
        results = root / "results"
        self.worker = Worker(self.database, self.spool, results, each[0], work, "s", self.stop, None, each[1])

    def order(self, act: str, at: Any = None, crash_count: int = 0) -> int:
        """Send a study whose job makes the application act; give the job's number."""
        self.send(series_of(str(generate_uid()), 2))
        assert self.assemble()
        job_id = self.jobs()[-1].id
        with self.database.write() as session:
            job = session.get_one(Job, job_id)
            job.plan, job.crash_count = {"act": act, "at": at}, crash_count
        return job_id

    def job(self, job_id: int) -> Job:
        with self.database.read() as session:
            return jobs.get(session, job_id)

    def work(self, later_s: float = 0.0) -> None:
        assert self.worker.step(time.time() + later_s)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def shop(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Workshop]:
    with saboteur_installed():
        made = Workshop(tmp_path, **settings)
        yield made
        made.cell.end()
        assert not list((tmp_path / "cells").iterdir())


@pytest.mark.parametrize(
    ("settings", "act", "at", "reason", "words"),
    [
        ({}, "exit", 3, "Crashed", "ended with exit status 3"),
        ({}, "segmentation fault", None, "Crashed", "was killed by SIGSEGV"),
        ({"max_runtime_s": 5}, "never return", None, "TookTooLong", "took more than 5 s"),
        ({}, "close the pipe", None, "Crashed", "closed its pipe"),
    ],
    ids=["exit", "segmentation fault", "never return", "close the pipe"],
)
def test_x_14_a_computation_that_dies_costs_its_job_one_attempt(
    shop: Workshop, act: str, at: Any, reason: str, words: str
) -> None:
    bad, good = shop.order(act, at), shop.order("nothing")

    shop.work()
    died = time.monotonic()
    shop.work()

    ended = shop.job(bad)
    assert (ended.state, ended.reason, ended.crash_count, ended.errors) == ("SCHEDULED", reason, 1, 0)
    assert words in str(ended.detail)
    assert shop.job(good).state == "COMPLETED"
    assert time.monotonic() - died < SOON_S


def test_x_14_memory_that_is_not_there_is_an_error_of_the_job_and_is_free_again(shop: Workshop) -> None:
    bad, good = shop.order("take memory and fail", 2 << 30), shop.order("take memory", 800 << 20)

    shop.work()
    shop.work()

    assert (shop.job(bad).reason, shop.job(bad).errors, shop.job(bad).crash_count) == ("MemoryError", 1, 0)
    assert (shop.job(good).outcome or {})["answer"] == "done"


def test_x_14_models_stay_loaded_while_nothing_goes_wrong(shop: Workshop) -> None:
    ordered = [shop.order("nothing") for _ in range(3)]

    for _ in ordered:
        shop.work()

    assert {(shop.job(one).outcome or {})["pid"] for one in ordered} == {shop.cell.pid}


def test_x_14_after_three_deaths_a_job_runs_alone_with_half_the_room(shop: Workshop) -> None:
    first = shop.order("nothing")
    shop.work()
    room = shop.order("take memory", 800 << 20, crash_count=3)

    shop.work(HOUR)

    assert (shop.job(room).outcome or {})["answer"] == "MemoryError"
    assert (shop.job(room).outcome or {})["pid"] != (shop.job(first).outcome or {})["pid"]
    assert shop.alone.pid is None


def test_x_14_after_five_deaths_a_job_is_quarantined_until_a_person_retries_it(shop: Workshop) -> None:
    bad = shop.order("exit", 7)
    for hour in range(6):
        shop.work(HOUR * hour)
    quarantined = shop.job(bad)

    with shop.database.write() as session:
        again = jobs.retry(session, bad, now=time.time(), user="ann")

    assert (quarantined.state, quarantined.reason, quarantined.crash_count) == ("FAILED", "Quarantined", 5)
    assert "exit status 7" in str(quarantined.detail)
    assert [result.role for result in quarantined.results] == ["SR"]
    told = shop.events("job failed")
    assert [(event.job_id, event.outcome, event.details["reason"]) for event in told] == [
        (bad, "failure", "Quarantined")
    ]
    assert (again.state, again.crash_count) == ("SCHEDULED", 0)


def test_x_14_a_stopping_worker_ends_what_never_returns(shop: Workshop) -> None:
    bad = shop.order("never return")
    shop.stop.set()

    shop.work()

    assert (shop.job(bad).state, shop.job(bad).reason, shop.job(bad).crash_count) == ("SCHEDULED", "Stopping", 0)
    assert shop.cell.pid is None


def test_x_14_a_worker_that_lost_its_lease_ends_the_computation(tmp_path: Path) -> None:
    with saboteur_installed():
        shop = Workshop(tmp_path)
        bad = shop.order("never return")
        thief = threading.Timer(1.0, _steal, [shop])
        thief.start()

        shop.work()

    assert (shop.job(bad).owner, shop.job(bad).crash_count) == ("heir", 0)
    assert shop.cell.pid is None


def _steal(shop: Workshop) -> None:
    with shop.database.write() as session:
        jobs.claim(session, "heir", lease_s=60, now=time.time() + HOUR)


HUNG = """
import sys, threading, time
from storage.database import Database
from storage.jobs import Lease
from vb_node.runtime.heartbeat import Heartbeat
with Heartbeat(Database(sys.argv[1]), Lease(int(sys.argv[2]), 1), 0.6, threading.Event(), float(sys.argv[3])):
    time.sleep(600)
"""


def test_x_14_a_worker_that_stands_still_outside_its_computation_is_killed_and_its_job_taken_over(
    tmp_path: Path,
) -> None:
    with saboteur_installed():
        shop = Workshop(tmp_path)
        left = shop.order("give")
    with shop.database.write() as session:
        assert jobs.claim(session, "hung", lease_s=0.6, now=time.time()) is not None

    url = str(shop.database.url)
    worker = subprocess.run([sys.executable, "-c", HUNG, url, str(left), "2"], timeout=60, check=False)

    assert worker.returncode == -signal.SIGKILL
    kept_until = shop.job(left).lease_until
    assert kept_until is not None
    with shop.database.write() as session:
        claimed = jobs.claim(session, "heir", lease_s=60, now=kept_until + 0.1)
    assert claimed is not None
    assert claimed[1] == jobs.Lease(left, 2)


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


WORKER = """
import sys, time
from pathlib import Path
from vb_node.config import WorkSettings
from vb_node.runtime.cell import Cell
cell = Cell(Path(sys.argv[1]), WorkSettings())
cell.start()
print(cell.pid, flush=True)
time.sleep(600)
"""


def test_x_14_a_cell_dies_with_its_worker_and_the_next_one_clears_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with saboteur_installed(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())

        os.kill(worker.pid, signal.SIGKILL)

        wait_until(lambda: not _runs(pid), SOON_S, "the cell is gone")
    (left,) = tmp_path.iterdir()
    heir = Cell(tmp_path, WorkSettings())
    kept = heir.start()
    assert list(tmp_path.iterdir()) == [kept] != [left]
    heir.end()
