"""The station that runs applications: one job at a time in a process, models kept loaded.

The lease is kept by a thread that also watches the clock: a run beyond ``max_runtime_s`` ends with its process, and
the supervisor starts another one.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset
from sqlalchemy.exc import OperationalError

from storage import jobs
from storage.database import Database
from storage.schema import Job, Result
from storage.spool import Spool, write_durably
from vb_node.config import WorkSettings
from vb_node.dicom import viewers
from vb_node.dicom.provenance import Predecessor
from vb_node.errors import Later, NodeError, Unfit
from vb_node.pipeline.application import Application, Case, Outcome, find
from vb_node.runtime.assemble import lineage_key
from vb_node.runtime.receive import is_intact

log = logging.getLogger(__name__)

STATION = "work"
RETRY_S, LONGEST_RETRY_S = 30.0, 600.0
# What a revision names and reads of its predecessor: the roles that every application gives these two objects.
SR_ROLE, SEG_ROLE = "SR", "SEG"
TOO_LONG = 75  # exit status of a worker that ran past its time (EX_TEMPFAIL)


class Stopping(Later):
    """The worker was told to stop; the job waits on the shelf for the next one."""


class InputDamaged(Unfit):
    """A spool file is missing, or no longer what was received."""


class Worker:
    """Claims jobs and works on them."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        results: Path,
        applications: Mapping[str, Application],
        settings: WorkSettings,
        serial_number: str,
        stop: threading.Event | None = None,
        profiles: Mapping[str, str] | None = None,
    ) -> None:
        self.database = database
        self.spool = spool
        self.results = results
        self.applications = applications
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
        return True

    def _work(self, job: Job, lease: jobs.Lease) -> None:
        if job.attempts > self.settings.max_attempts:
            detail = f"{job.attempts - 1} workers died or lost their lease with this job"
            with self.database.write() as session:
                jobs.give_up(session, lease, now=time.time(), reason="TooManyAttempts", detail=detail)
            return
        application = find(self.applications, job.application)
        with _Heartbeat(self.database, lease, self.settings, self.stop) as heart:
            case = self._case(job, heart)
            try:
                self._check_inputs(job)
                outcome, unfit = application.run(case), None
            except Unfit as error:
                log.info("not analysed", extra={"job": job.id, "reason": error.reason})
                outcome, unfit = self._refuse(application, case, error), error
            results = self._write(job, lease, outcome)
        with self.database.write() as session:
            state = "COMPLETED" if unfit is None else "FAILED"
            why = {} if unfit is None else {"reason": unfit.reason, "detail": str(unfit)}
            left_out = {name: viewers.PROFILES[profile] for name, profile in self.profiles.items()}
            jobs.finish(
                session, lease, state, results, now=time.time(), outcome=outcome.summary, left_out=left_out, **why
            )
        log.info("job ended", extra={"job": job.id, "state": state, "results": len(results)})

    def _refuse(self, application: Application, case: Case, error: Unfit) -> Outcome:
        """Write the report "not analysed"; where not even that can be written well, there is none."""
        try:
            return application.refuse(case, error)
        except Unfit as worse:
            log.exception("no report of the refusal", extra={"reason": error.reason})
            return Outcome((), {"state": "not analysed", "reason": error.reason, "no report": str(worse)[:500]})

    def _case(self, job: Job, heart: "_Heartbeat") -> Case:
        with self.database.read() as session:
            reports = jobs.earlier_results(session, job, SR_ROLE)
            segmentations = jobs.earlier_results(session, job, SEG_ROLE)
        return Case(
            paths=tuple(self.spool.path_of(item.sop_instance_uid, item.sha256) for item in job.inputs),
            plan=job.plan,
            job_key=job.key,
            lineage_key=lineage_key(job.series_instance_uid, job.application),
            created=datetime.fromtimestamp(job.created_at, UTC).astimezone(),
            device=self.settings.device,
            progress=heart.progress,
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
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        path = folder / f"{rank}-{role.lower().replace(' ', '-')}.dcm"
        write_durably(path, buffer.getvalue())
        return Result(
            sop_instance_uid=str(dataset.SOPInstanceUID),
            job_id=job.id,
            role=role,
            rank=rank,
            sop_class_uid=str(dataset.SOPClassUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            path=str(path.relative_to(self.results)),
            sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
            created_at=time.time(),
        )

    def _after_error(self, job: Job, lease: jobs.Lease, error: Exception) -> None:
        """Return the job for a later try, or end it when it has failed too often for a reason of its own."""
        reason = error.reason if isinstance(error, NodeError) else type(error).__name__
        # The text of a foreign exception may quote the data set: its type is enough for the ledger.
        detail = str(error) if isinstance(error, NodeError) else "unexpected error, see the log of the worker"
        is_error = not isinstance(error, Later | OSError | OperationalError)  # a full disk is no fault of the job
        wait_s = 0.0 if isinstance(error, Stopping) else min(RETRY_S * 2**job.errors, LONGEST_RETRY_S)
        with self.database.write() as session:
            if is_error and job.errors + 1 >= self.settings.max_errors:
                jobs.give_up(session, lease, now=time.time(), reason=reason, detail=detail)
            else:
                jobs.give_back(
                    session, lease, now=time.time(), wait_s=wait_s, reason=reason, detail=detail, is_error=is_error
                )


class _Heartbeat(AbstractContextManager["_Heartbeat"]):
    """Keeps a lease while its block runs."""

    def __init__(self, database: Database, lease: jobs.Lease, settings: WorkSettings, stop: threading.Event) -> None:
        self.database, self.lease, self.settings, self.stop = database, lease, settings, stop
        self.started = time.monotonic()
        self.at: dict[str, Any] = {"step": None, "progress": 0.0}
        self.is_lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def progress(self, step: str, fraction: float) -> None:
        """Show how far the run is; raise ``LostLease`` when the job is no longer ours, ``Stopping`` when we end."""
        self.at = {"step": step, "progress": fraction}
        if self.stop.is_set():
            raise Stopping("the node is stopping")
        if self.is_lost:
            raise jobs.LostLease(f"job {self.lease.job_id}: the lease {self.lease.token} is no longer ours")

    def _beat(self) -> None:
        while not self._over.wait(self.settings.lease_s / 6):
            if time.monotonic() - self.started > self.settings.max_runtime_s:
                log.error("run past max_runtime_s, worker ends", extra={"job": self.lease.job_id})
                os._exit(TOO_LONG)
            try:
                with self.database.write() as session:
                    jobs.keep(session, self.lease, lease_s=self.settings.lease_s, now=time.time(), **self.at)
            except jobs.LostLease:
                self.is_lost = True
                return
            except Exception:
                log.exception("heartbeat not written")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
