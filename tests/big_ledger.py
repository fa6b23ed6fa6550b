"""A ledger as large as years make it: a job has ten instances, ten lines of the audit trail, three results, sent."""

import hashlib
import random
import time
from typing import Any

from sqlalchemy import insert

from storage import audit
from storage.database import Database
from storage.schema import Delivery, Instance, Job, JobInput, JobWeights, Result, Series, Table

BATCH, SLICES, ROLES = 1000, 10, ("SEG", "SR", "key image")
APART_S = 600.0
STATES = ("COMPLETED",) * 95 + ("FAILED", "FAILED", "CANCELED", "SCHEDULED", "IN PROGRESS")
MR = "1.2.840.10008.5.1.4.1.1.4"

Rows = dict[type[Table], list[dict[str, Any]]]


def fill(database: Database, jobs: int, seed: int = 0) -> None:
    """Put so many jobs, and all that belongs to them, on the shelves; the newest is of now."""
    chance, begin = random.Random(seed), time.time() - jobs * APART_S
    for first in range(1, jobs + 1, BATCH):
        rows: Rows = {table: [] for table in (Series, Instance, Job, JobInput, JobWeights, Result, Delivery)}
        lines: list[dict[str, Any]] = []
        for number in range(first, min(first + BATCH, jobs + 1)):
            _add(rows, lines, number, begin + number * APART_S, chance.choice(STATES))
        with database.write() as session:
            for table, values in rows.items():
                session.execute(insert(table), values)
            audit.record_all(session, lines)


def weights_of(number: int) -> dict[str, str]:
    """Give all jobs one localizer, and diagnosers to few of them, to many here and there, and to the rest."""
    name = "few" if number % 500 == 0 else "many" if number % 20 == 0 else "diagnoser"
    return {one: hashlib.sha256(one.encode()).hexdigest() for one in ("localizer", name)}


def _add(rows: Rows, lines: list[dict[str, Any]], number: int, at: float, state: str) -> None:
    uid = f"2.25.{number}"
    keys = {"study_instance_uid": f"{uid}.1", "series_instance_uid": f"{uid}.2"}
    keys |= {"patient_id": f"P{number // 3}", "accession_number": f"A{number}"}
    series = {"instances": SLICES, "opened_at": at, "last_arrival_at": at, "closed_at": at + 5, "closed_by": "released"}
    rows[Series].append(keys | series)
    digest = hashlib.sha256(uid.encode()).hexdigest()
    for slice_ in range(SLICES):
        instance = {
            "sop_instance_uid": f"{uid}.3.{slice_}",
            "sop_class_uid": MR,
            "sha256": digest,
            "size_bytes": 131072,
        }
        of = {name: keys[name] for name in ("study_instance_uid", "series_instance_uid")}
        rows[Instance].append(instance | of | {"peer": "MR1", "received_at": at})
        rows[JobInput].append({"job_id": number, "sop_instance_uid": f"{uid}.3.{slice_}", "sha256": digest})
    rows[Job].append(keys | _job(number, at, state, digest))
    rows[JobWeights] += [{"job_id": number, "name": name, "sha256": one} for name, one in weights_of(number).items()]
    for rank, role in enumerate(ROLES):
        result = {"sop_instance_uid": f"{uid}.4.{rank}", "role": role, "rank": rank, "sop_class_uid": MR}
        place = {"series_instance_uid": f"{uid}.5", "path": f"{number}/1/{rank}.dcm", "sha256": digest}
        rows[Result].append(result | place | {"job_id": number, "created_at": at + 60})
        delivery = {"sop_instance_uid": f"{uid}.4.{rank}", "job_id": number, "destination": "pacs", "state": "sent"}
        rows[Delivery].append(delivery | {"created_at": at + 60, "due_at": at + 60, "sent_at": at + 61})
    lines += _story(keys | {"job_id": number}, at, f"{uid}.3.0")


def _job(number: int, at: float, state: str, digest: str) -> dict[str, Any]:
    words = {"id": number, "key": digest, "application": "virtual_biopsy", "version": "1", "route": "brains"}
    times = {"created_at": at + 5, "started_at": at + 6, "finished_at": at + 60, "state": state, "progress": 1.0}
    told = {"seconds": dict.fromkeys(("read", "process", "localise", "diagnose", "report"), 3.25)}
    plan = {"rule": 'Modality == "MR"', "series": [number], "weights": weights_of(number)}
    return words | times | {"plan": plan, "outcome": told, "destinations": ["pacs"], "closed_by": "released"}


def _story(keys: dict[str, Any], at: float, sop_instance_uid: str) -> list[dict[str, Any]]:
    """Tell ten events of one job, as the stations do."""
    came = {name: value for name, value in keys.items() if name != "job_id"}
    received = {"peer": "MR1", "sop_instance_uid": sop_instance_uid, **came}
    told = [("receive", "instance received", received)] * 3 + [("assemble", "series closed", came)]
    told += [("assemble", "job scheduled", keys), ("worker", "job claimed", keys), ("worker", "result created", keys)]
    told += [("deliver", event, keys | {"peer": "pacs"}) for event in ("delivery begun", "delivery sent")]
    told += [("worker", "job completed", keys)]
    return [
        audit.line(event, now=at + second, actor=actor, details={"attempt": 1, "status": "0000"}, **words)
        for second, (actor, event, words) in enumerate(told)
    ]
