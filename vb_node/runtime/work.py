"""The station that has jobs worked on: claims one, keeps its lease, and writes what becomes of it.

The work itself is done in a cell (cell.py), whose death costs the job an attempt and nothing else. A job in whose
hands cells keep dying is given one of its own with half the room, and at last is quarantined, for a person to look at.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Protocol

from pydicom import Dataset
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import jobs
from storage.database import Database
from storage.schema import Job, Result
from storage.spool import Spool, write_durably
from vb_node.config import WorkSettings
from vb_node.dicom import viewers
from vb_node.dicom.provenance import Predecessor
from vb_node.errors import BadResult, Later, NodeError, Unfit
from vb_node.pipeline.application import Case, Outcome, find
from vb_node.runtime import leftovers
from vb_node.runtime.assemble import lineage_key
from vb_node.runtime.cell import Crashed
from vb_node.runtime.heartbeat import Heartbeat, Stopping
from vb_node.runtime.receive import is_intact

log = logging.getLogger(__name__)

STATION = "work"
RETRY_S, LONGEST_RETRY_S = 30.0, 600.0
# What a revision names and reads of its predecessor: the roles that every application gives these two objects.
SR_ROLE, SEG_ROLE = "SR", "SEG"
ALONE_AFTER, QUARANTINED_AFTER = 3, 5  # crashes
AROUND_S = 600.0  # for what an attempt does beside computing: to read and write files


class InputDamaged(Unfit):
    """A spool file is missing, or no longer what was received."""


class Quarantined(Unfit):
    """Its computation has died too often: a person must look, and may retry it."""


class Worked(Protocol):
    """What the worker asks of an application, wherever it runs."""

    def run(self, case: Case) -> Outcome: ...

    def refuse(self, case: Case, error: Unfit) -> Outcome: ...


class Worker:
    """Claims jobs and has them worked on, by ``applications`` or, if they have crashed often, by those ``alone``."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        results: Path,
        applications: Mapping[str, Worked],
        settings: WorkSettings,
        serial_number: str,
        stop: threading.Event | None = None,
        profiles: Mapping[str, str] | None = None,
        alone: Mapping[str, Worked] | None = None,
    ) -> None:
        self.database = database
        self.spool = spool
        self.results = results
        self.applications = applications
        self.alone = applications if alone is None else alone
        self.settings = settings
        self.serial_number = serial_number
        self.stop = stop or threading.Event()
        self.profiles = profiles or {}
        self.name = f"work {os.getpid()}"

    def step(self, now: float) -> bool:
        """Claim one job and end it, one way or the other; give False if there is none."""
        with self.database.write() as session:
            claimed = jobs.claim(session, self.name, lease_s=self.settings.lease_s, now=now)
        if claimed is None:
            return False
        job, lease = claimed
        ids = {"job": job.id, "series_instance_uid": job.series_instance_uid, "attempt": job.attempts}
        log.info("job claimed", extra=ids)
        try:
            self._work(job, lease)
        except jobs.LostLease:
            log.warning("lease lost, results dropped", extra=ids)
        except Exception as error:
            log.exception("job not done", extra=ids)
            self._after_error(job, lease, error)
        finally:
            leftovers.sweep(self.database, self.results, job.id)
        return True

    def _work(self, job: Job, lease: jobs.Lease) -> None:
        application = find(self.applications if job.crash_count < ALONE_AFTER else self.alone, job.application)
        longest_s = 2 * self.settings.max_runtime_s + AROUND_S  # the application may run, and then refuse
        with Heartbeat(self.database, lease, self.settings.lease_s, self.stop, longest_s) as heart:
            case = self._case(job, heart.progress)
            try:
                _check_record(job)
                self._check_inputs(job)
                outcome, unfit = application.run(case), None
            except Unfit as error:
                log.info("not analysed", extra={"job": job.id, "reason": error.reason})
                outcome, unfit = self._refuse(application, case, error), error
            results = self._write(job, lease, outcome)
        state = "COMPLETED" if unfit is None else "FAILED"
        why = {} if unfit is None else {"reason": unfit.reason, "detail": str(unfit)}
        left_out = {name: viewers.PROFILES[profile] for name, profile in self.profiles.items()}

        def finish(session: Session) -> None:
            now, summary = time.time(), outcome.summary
            jobs.finish(session, lease, state, results, now=now, outcome=summary, left_out=left_out, **why)

        self.database.persist(finish)
        log.info("job ended", extra={"job": job.id, "state": state, "results": len(results)})

    def _refuse(self, application: Worked, case: Case, error: Unfit) -> Outcome:
        """Write the report "not analysed"; where not even that can be written well, there is none."""
        try:
            return application.refuse(case, error)
        except (Unfit, Crashed) as worse:
            log.exception("no report of the refusal", extra={"reason": error.reason})
            return Outcome((), {"state": "not analysed", "reason": error.reason, "no report": str(worse)[:500]})

    def again(self, job: Job) -> Outcome:
        """Work once more on a job that has ended, as for its last results, and write nothing; raise ``NodeError``."""
        application = find(self.applications, job.application)
        case = self._case(job, lambda _step, _fraction: None, without=last_attempt(job))
        self._check_inputs(job)
        try:
            return application.run(case)
        except Unfit as error:
            return application.refuse(case, error)

    def _case(self, job: Job, progress: Callable[[str, float], None], without: str = "") -> Case:
        """Say what is to be done; ``without`` is the folder of an attempt whose results are no predecessors."""
        with self.database.read() as session:
            reports = jobs.earlier_results(session, job, SR_ROLE)
            reports = [one for one in reports if one.path.rpartition("/")[0] != without]
            segmentations = jobs.earlier_results(session, job, SEG_ROLE)
        return Case(
            paths=tuple(self.spool.path_of(item.sop_instance_uid, item.sha256) for item in job.inputs),
            plan=job.plan,
            job_key=job.key,
            lineage_key=lineage_key(job.series_instance_uid, job.application, job.route if job.is_shadow else None),
            created=datetime.fromtimestamp(job.created_at, UTC).astimezone(),
            device=self.settings.device,
            progress=progress,
            device_serial_number=self.serial_number,
            predecessor=self._predecessor(job, reports, segmentations) if reports else None,
            left_out=viewers.left_out(self.profiles[name] for name in job.destinations if name in self.profiles),
        )

    def _predecessor(self, job: Job, reports: Sequence[Result], segmentations: Sequence[Result]) -> Predecessor:
        before = reports[0]
        files = [self.results / one.path for one in segmentations if one.job_id != job.id]
        return Predecessor(
            sop_class_uid=before.sop_class_uid,
            sop_instance_uid=before.sop_instance_uid,
            series_instance_uid=before.series_instance_uid,
            study_instance_uid=job.study_instance_uid,
            revision=len(reports),
            segmentation=next((file for file in files if file.is_file()), None),
        )

    def _check_inputs(self, job: Job) -> None:
        for item in job.inputs:
            if not is_intact(self.spool.path_of(item.sop_instance_uid, item.sha256), item.sha256):
                raise InputDamaged(
                    f"the stored file of instance {item.sop_instance_uid} is missing or damaged: "
                    f"send the series again, then retry job {job.id}"
                )

    def _write(self, job: Job, lease: jobs.Lease, outcome: Outcome) -> list[Result]:
        """Write the objects where only this attempt writes, so that a zombie cannot touch what the ledger points to."""
        folder = self.results / str(job.id) / str(lease.token)
        return [
            self._write_one(folder, rank, role, job, dataset) for rank, (role, dataset) in enumerate(outcome.objects)
        ]

    def _write_one(self, folder: Path, rank: int, role: str, job: Job, dataset: Dataset) -> Result:
        if dataset.StudyInstanceUID != job.study_instance_uid:
            raise BadResult(f"{role}: an object of study {job.study_instance_uid} expected, one of another study came")
        content = encode(dataset)
        path = folder / f"{rank}-{role.lower().replace(' ', '-')}.dcm"
        write_durably(path, content)
        return Result(
            sop_instance_uid=str(dataset.SOPInstanceUID),
            job_id=job.id,
            role=role,
            rank=rank,
            sop_class_uid=str(dataset.SOPClassUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            path=str(path.relative_to(self.results)),
            sha256=hashlib.sha256(content).hexdigest(),
            created_at=time.time(),
        )

    def _after_error(self, job: Job, lease: jobs.Lease, error: Exception) -> None:
        """Return the job for a later try, or end it when it has failed too often for a reason of its own."""
        reason = error.reason if isinstance(error, NodeError) else type(error).__name__
        # The text of a foreign exception may quote the data set: its type is enough for the ledger.
        detail = str(error) if isinstance(error, NodeError) else "unexpected error, see the log of the worker"
        is_crash = isinstance(error, Crashed)
        # a full disk is no fault of the job
        is_error = not (is_crash or isinstance(error, Later | OSError | OperationalError))
        tries = job.errors + job.crash_count
        wait_s = 0.0 if isinstance(error, Stopping) else min(RETRY_S * 2**tries, LONGEST_RETRY_S)
        with self.database.write() as session:
            if is_error and job.errors + 1 >= self.settings.max_errors:
                jobs.give_up(session, lease, now=time.time(), reason=reason, detail=detail)
            else:
                counts = {"is_error": is_error, "is_crash": is_crash}
                jobs.give_back(session, lease, now=time.time(), wait_s=wait_s, reason=reason, detail=detail, **counts)


def encode(dataset: Dataset) -> bytes:
    """Write an object as it is kept and sent."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def last_attempt(job: Job) -> str:
    """Give the folder of the attempt whose results are the newest."""
    newest = max(job.results, key=lambda one: one.created_at, default=None)
    return newest.path.rpartition("/")[0] if newest is not None else ""


def _check_record(job: Job) -> None:
    if job.crash_count >= QUARANTINED_AFTER:
        log.error("job quarantined", extra={"job": job.id, "crashes": job.crash_count})
        raise Quarantined(
            f"the computation died {job.crash_count} times with this series, and a result was expected (the last time: "
            f"{job.detail}): look at the log of the worker, then retry job {job.id}"
        )
