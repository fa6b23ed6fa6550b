"""``vb-node audit evidence``: all that the node knows of one order or one job, in one file that can be checked.

The bundle holds patient data. Its ``manifest.json`` names each member with its SHA-256, and where the audit trail
ended when it was made: who wrote that down elsewhere can tell later that nothing was changed.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy.orm import Session

from storage import arrivals, associations, audit, jobs
from storage.chain import Broken
from storage.database import Database
from storage.schema import Event, Instance, Job
from vb_node import show
from vb_node.config import Settings
from vb_node.errors import ConfigError, NodeError
from vb_node.runtime.line import results_of

MOST_LINES = 1_000_000
README = """\
Evidence of one order or job of a vb-node, made {made} by {user}. It holds patient data. Investigational software.

manifest.json   each file here with its SHA-256; lines, number and digest of the last line of the audit trail
jobs/           each job: from exactly which instances (UID, SHA-256), with which application, version, weights and
                settings (plan), what it gave, each delivery with its status, and its log
instances.csv   each instance that came: when, from which AE and host, its SHA-256 and whether retention let it go
audit.csv/json  the lines of the audit trail, with patient, order, study, series, instance, peer, job and user
results/        the objects that were written, as they were sent, where retention has not let them go
"""


@dataclass(frozen=True)
class _Found:
    jobs: Sequence[Job]
    events: Sequence[Event]
    instances: Sequence[Mapping[str, object]]


def write(database: Database, settings: Settings, out: Path, *, user: str, **about: Any) -> list[str]:
    """Write the bundle about ``accession_number`` or ``job_id``, tell of it in the trail, and give its members' names.

    Raises
    ------
    ConfigError
        The file is there already or cannot be written.
    NodeError
        The ledger knows nothing of it.
    """
    with database.read() as session:
        found = _look_up(session, **about)
        members = dict(_members(session, found, results_of(settings), user))
    members["manifest.json"] = _manifest(database, members, about)
    try:
        descriptor = os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{out} is there already and is not overwritten: name another file") from error
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file, ZipFile(file, "w", ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    with database.write() as session:
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        details = {"sha256": digest, "members": len(members)}
        audit.record(
            session, "evidence exported", now=time.time(), actor="operator", user=user, details=details, **about
        )
    return list(members)


def _look_up(session: Session, *, accession_number: str | None = None, job_id: int | None = None) -> _Found:
    if job_id is not None:
        try:
            found = [jobs.get(session, job_id)]
        except jobs.NotNow as error:
            raise NodeError(str(error)) from error
        series = {found[0].series_instance_uid}
        events = _events(session, job_id=[job_id], series_instance_uid=series)
    else:
        events = _events(session, accession_number=[accession_number])
        found = [jobs.get(session, one) for one in sorted({event.job_id for event in events if event.job_id})]
        series = {event.series_instance_uid for event in events if event.series_instance_uid}
    if not events:
        raise NodeError(f"nothing is known of accession number {accession_number!r}")
    return _Found(found, events, list(_instances(session, series)))


def _events(session: Session, **wanted: Collection[Any]) -> list[Event]:
    lines = {
        event.seq: event
        for key, values in wanted.items()
        for value in values
        for event in audit.search(session, since=None, until=None, limit=MOST_LINES, **{key: value})
    }
    return [lines[seq] for seq in sorted(lines)]


def _instances(session: Session, series: Collection[str]) -> Iterator[dict[str, object]]:
    for uid in sorted(series):
        kept = arrivals.instances_of_series(session, uid)
        over = associations.get(session, {one.association_id for one in kept if one.association_id is not None})
        hosts = {one.id: one.host for one in over}
        yield from (_instance(one, hosts) for one in kept)


def _instance(one: Instance, hosts: Mapping[str, str]) -> dict[str, object]:
    return {
        "sop_instance_uid": one.sop_instance_uid,
        "sop_class_uid": one.sop_class_uid,
        "series_instance_uid": one.series_instance_uid,
        "study_instance_uid": one.study_instance_uid,
        "sha256": one.sha256,
        "bytes": one.size_bytes,
        "received": show.moment(one.received_at),
        "peer": one.peer,
        "host": hosts.get(one.association_id or ""),
        "let_go": show.moment(one.deleted_at),
    }


def _members(session: Session, found: _Found, results: Path, user: str) -> Iterator[tuple[str, bytes]]:
    made = show.moment(time.time())
    yield "README.txt", README.format(made=made, user=user).encode()
    for job in found.jobs:
        log = [event for event in found.events if event.job_id == job.id]
        whole = show.whole_job(job, jobs.deliveries_of(session, job.id), log)
        yield f"jobs/{job.id}.json", _json(whole)
    lines = [show.event_row(event) for event in found.events]
    yield "audit.json", _json(lines)
    yield "audit.csv", _csv(lines)
    if found.instances:
        yield "instances.csv", _csv(found.instances)
    for job in found.jobs:
        for result in job.results:
            path = results / result.path
            if path.is_file():
                yield f"results/{job.id}/{path.name}", path.read_bytes()


def _manifest(database: Database, members: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    with database.read() as session:
        try:
            whole = audit.verify(session)
            trail: dict[str, object] = {
                "is_whole": True,
                "lines": whole.lines,
                "last": whole.last,
                "digest": whole.digest,
            }
        except Broken as error:
            trail = {"is_whole": False, "why": str(error)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return _json({"about": about, "audit trail": trail, "sha256": digests})


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def _csv(records: Sequence[Mapping[str, object]]) -> bytes:
    stream = io.StringIO(newline="")
    show.write_csv(stream, records, list(records[0]))
    return stream.getvalue().encode()
