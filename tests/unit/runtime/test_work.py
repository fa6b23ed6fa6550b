"""The worker, turned by hand over a real ledger and spool, with a plug-in application as a site might write one."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from factories import head, mr_series
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from stations import House, series_of

from storage import jobs
from storage.schema import Job
from vb_node.config import Settings, WorkSettings
from vb_node.errors import BadResult, Later, NoBrain, Unfit
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.select import Choice
from vb_node.runtime.work import Stopping, Worker


class Copier:
    """An application that gives the first instance back under the job's name, or fails as it is told to."""

    name, version = "copier", "1"

    def __init__(self, act: Callable[[Case], None] = lambda _case: None) -> None:
        self.act = act

    def plan(self, _settings: Settings) -> dict[str, Any]:
        return {}

    def select(self, study: Sequence[Candidate], _plan: Mapping[str, Any]) -> list[Choice]:
        return [Choice(str(candidate.header.SeriesInstanceUID), True, 1.0, "all") for candidate in study]

    def run(self, case: Case) -> Outcome:
        self.act(case)
        return Outcome((("COPY", _copy(case)),), {"state": "copied"})

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        return Outcome((("SR", _copy(case, "refused")),), {"state": error.reason})


class Reporter(Copier):
    """An application whose results have the roles of a segmentation and a report."""

    def run(self, case: Case) -> Outcome:
        self.act(case)
        return Outcome((("SEG", _copy(case, "seg")), ("SR", _copy(case, "sr"))), {})


class Mixer(Copier):
    """An application that gives an object of another study."""

    def run(self, case: Case) -> Outcome:
        copy = _copy(case)
        copy.StudyInstanceUID = generate_uid()
        return Outcome((("COPY", copy),), {})


class Refuser(Copier):
    """An application that finds a series unfit and cannot even write the report that says so."""

    def run(self, case: Case) -> Outcome:
        raise NoBrain("no brain")

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        raise BadResult("the report fails its own check")


def _copy(case: Case, name: str = "copy") -> Dataset:
    (copy,) = mr_series(head((1, 8, 8)))
    source = next(path for path in case.paths if path.is_file())
    copy.StudyInstanceUID = dcmread(source, stop_before_pixels=True).StudyInstanceUID
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[case.job_key, name])
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return copy


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., tuple[Worker, House]]:
    """Make a worker and a house in which one job of it waits."""

    def make(application: Copier, stop: threading.Event | None = None, **settings: Any) -> tuple[Worker, House]:
        house = House(tmp_path, {"copier": application}, routes=[{"name": "r", "application": "copier"}])
        house.send(series_of(generate_uid()))
        house.assemble()
        worker = Worker(
            house.database,
            house.spool,
            tmp_path / "results",
            {"copier": application},
            WorkSettings(**settings),
            "serial",
            stop,
        )
        return worker, house

    return make


def _fail(error: Exception) -> Copier:
    def act(_case: Case) -> None:
        raise error

    return Copier(act)


def _only(house: House) -> Job:
    (job,) = house.jobs()
    return job


def test_a_job_ends_with_its_results_on_disk(work: Callable[..., tuple[Worker, House]], tmp_path: Path) -> None:
    worker, house = work(Copier())

    is_busy = worker.step(time.time())

    job = _only(house)
    assert is_busy
    assert (job.state, job.outcome) == ("COMPLETED", {"state": "copied"})
    assert (tmp_path / "results" / job.results[0].path).is_file()
    assert worker.step(time.time()) is False


def test_an_unfit_series_fails_with_a_report_and_its_reason(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(_fail(NoBrain("no brain: this is a fruit")))

    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.reason, job.detail) == ("FAILED", "NoBrain", "no brain: this is a fruit")
    assert [result.role for result in job.results] == ["SR"]


def test_later_is_tried_again_and_is_no_error(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(_fail(Later("no GPU is free")))

    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.reason, job.errors) == ("SCHEDULED", "Later", 0)
    assert job.not_before > time.time()


def test_a_bug_is_tried_three_times_and_its_text_stays_out_of_the_ledger(
    work: Callable[..., tuple[Worker, House]],
) -> None:
    worker, house = work(_fail(KeyError("CANARY^PATIENT")))

    for hour in range(3):
        worker.step(time.time() + 3600 * hour)

    job = _only(house)
    assert (job.state, job.reason, job.attempts) == ("FAILED", "KeyError", 3)
    assert "CANARY" not in str([event.details for event in house.events()])


def test_workers_that_are_killed_do_not_count_against_a_job(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(Copier())
    for lost in range(30):
        with house.database.write() as session:
            jobs.claim(session, "dead", lease_s=1, now=time.time() + 10 * lost)

    worker.step(time.time() + 400)

    assert (_only(house).state, _only(house).attempts, _only(house).crash_count) == ("COMPLETED", 31, 0)


def test_r_17_a_bit_that_flipped_in_the_spool_is_not_analysed(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(Copier())
    damaged = next(iter(house.spool))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)

    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.reason) == ("FAILED", "InputDamaged")
    assert [result.role for result in job.results] == ["SR"]


def test_r_17_a_missing_input_that_is_sent_again_is_mended(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(Copier())
    next(iter(house.spool)).unlink()
    worker.step(time.time())

    house.send(house.sent)
    with house.database.write() as session:
        jobs.retry(session, _only(house).id, now=time.time(), user="ann")
    worker.step(time.time())

    job = _only(house)
    assert job.state == "COMPLETED"
    assert sorted(result.role for result in job.results) == ["COPY", "SR"]


def test_a_revision_is_told_of_the_report_and_the_segmentation_that_it_supersedes(
    work: Callable[..., tuple[Worker, House]],
) -> None:
    seen: list[Case] = []
    application = Reporter(seen.append)
    worker, house = work(application)
    worker.step(time.time())
    (late,) = series_of(house.sent[0].StudyInstanceUID, 1, SeriesInstanceUID=house.sent[0].SeriesInstanceUID)

    house.send([late])
    house.assemble()
    worker.step(time.time())

    first, second = seen
    before = second.predecessor
    reported = {result.role: result for result in house.jobs()[0].results}
    assert first.predecessor is None
    assert before is not None
    assert (before.sop_instance_uid, before.revision) == (reported["SR"].sop_instance_uid, 1)
    assert before.segmentation is not None
    assert before.segmentation.is_file()
    assert before.segmentation == worker.results / reported["SEG"].path


def test_a_result_of_another_study_never_reaches_the_ledger(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(Mixer())

    for hour in range(3):
        worker.step(time.time() + 3600 * hour)

    assert (_only(house).state, _only(house).reason, _only(house).results) == ("FAILED", "BadResult", [])


def test_a_refusal_that_cannot_be_written_ends_the_job_with_its_reason(
    work: Callable[..., tuple[Worker, House]],
) -> None:
    worker, house = work(Refuser())

    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.reason, job.results) == ("FAILED", "NoBrain", [])
    assert "fails its own check" in (job.outcome or {})["no report"]


def test_a_worker_that_lost_its_lease_writes_nothing(work: Callable[..., tuple[Worker, House]]) -> None:
    application = Copier()
    worker, house = work(application)

    def lose(_case: Case) -> None:
        with house.database.write() as session:
            assert jobs.claim(session, "heir", lease_s=60, now=time.time() + 1000) is not None

    application.act = lose
    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.owner, job.results) == ("IN PROGRESS", "heir", [])


def test_a_stopping_worker_gives_its_job_back_at_once(work: Callable[..., tuple[Worker, House]]) -> None:
    stop = threading.Event()

    def be_stopped(case: Case) -> None:
        stop.set()
        case.progress("next step", 0.5)

    worker, house = work(Copier(be_stopped), stop)
    worker.step(time.time())

    job = _only(house)
    assert (job.state, job.reason) == ("SCHEDULED", Stopping.__name__)
    assert job.not_before <= time.time()


def test_a_job_done_twice_gives_the_same_objects(work: Callable[..., tuple[Worker, House]]) -> None:
    worker, house = work(_fail(NoBrain("no brain")))
    worker.step(time.time())
    first = [result.sop_instance_uid for result in _only(house).results]
    with house.database.write() as session:
        jobs.retry(session, _only(house).id, now=time.time(), user="ann")

    worker.step(time.time())

    assert [result.sop_instance_uid for result in _only(house).results] == first
