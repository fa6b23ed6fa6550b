"""``vb-node audit rerun``: a job once more, with what was recorded, to see whether it gives the same bytes."""

import hashlib
import time

from storage import audit, jobs
from storage.answers import RERUN, Row
from storage.database import Database
from storage.schema import Job
from vb_node import log
from vb_node.config import Settings
from vb_node.errors import NodeError
from vb_node.pipeline.application import Outcome, find, furniture, installed
from vb_node.runtime.cell import Cell, in_cell
from vb_node.runtime.line import results_of, spool_of
from vb_node.runtime.work import Worker, encode, last_attempt


def run(database: Database, settings: Settings, job_id: int, *, user: str) -> list[Row]:
    """Run a job that has results again, write down what it gave, and compare each object with the one that was sent.

    Raises
    ------
    NodeError
        There is no such job or it has no results, its images are gone, or another version is installed.
    """
    with database.read() as session:
        job = jobs.find(session, job_id)
    if job is None or not job.results:
        raise NodeError(f"a job with results expected; job {job_id} has none, or there is none of this number")
    version = find(installed(), job.application).version
    if version != job.version:
        raise NodeError(f"job {job_id} was made by {job.application} {job.version}; install that, {version} is here")
    log.start("WARNING")
    rows = _compare(job, _again(database, settings, job))
    given = {row["sop_instance_uid"]: row["again_sha256"] for row in rows}
    is_same = all(row["is_same"] for row in rows)
    with database.write() as session:
        outcome: audit.Outcome = "success" if is_same else "failure"
        details = {"results": given, "is_same": is_same}
        keys = audit.keys_of(job)
        audit.record(
            session, RERUN, now=time.time(), actor="operator", user=user, outcome=outcome, details=details, **keys
        )
    return rows


def _again(database: Database, settings: Settings, job: Job) -> Outcome:
    """Work on it where jobs are worked on: in a cell."""
    names = installed()
    cell = Cell(settings.data / "cells", settings.work, furniture(names.values(), settings))
    profiles = {one.name: one.viewer_profile for one in settings.destinations}
    applications, serial_number = in_cell(names, cell), settings.node.ae_title
    stores = spool_of(settings), results_of(settings)
    worker = Worker(database, *stores, applications, settings.work, serial_number, profiles=profiles)
    try:
        return worker.again(job)
    finally:
        cell.end()


def _compare(job: Job, outcome: Outcome) -> list[Row]:
    """Lay the objects of a run beside those that the job gave last, by UID; a retry keeps what was there already."""
    digests = {str(one.SOPInstanceUID): hashlib.sha256(encode(one)).hexdigest() for _, one in outcome.objects}
    folder = last_attempt(job)
    return [
        {
            "role": one.role,
            "sop_instance_uid": one.sop_instance_uid,
            "sha256": one.sha256,
            "again_sha256": digests.get(one.sop_instance_uid),
            "is_same": digests.get(one.sop_instance_uid) == one.sha256,
        }
        for one in job.results
        if one.sop_instance_uid in digests or one.path.startswith(f"{folder}/")
    ]
