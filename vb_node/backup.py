"""A copy of ledger, spool, results and imported weights as they were at one moment, taken while the node runs.

The ledger's copy comes first, and says which files belong to it: files are never changed, so they may follow. Put in
the place of a data folder, the copy is a node again.
"""

import hashlib
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute

from storage import arrivals, audit
from storage.chain import Broken
from storage.database import Damaged, Database
from storage.schema import Instance, Result
from storage.spool import Spool
from vb_node.config import Settings
from vb_node.errors import ConfigError, NodeError
from vb_node.models.pins import MODEL, MODELS, read_site_pin, site_folder, site_names
from vb_node.runtime import line
from vb_node.runtime.receive import is_intact

LEDGER = "ledger.db"
WRITTEN = select(Result.sop_instance_uid, Result.path, Result.sha256).where(Result.deleted_at.is_(None))


@dataclass(frozen=True)
class Backup:
    """What was copied: lines of the audit trail, number and digest of the last, and files.

    ``missing`` names the UIDs and weights whose files are lost.
    """

    lines: int
    last: int
    digest: str
    instances: int
    results: int
    missing: tuple[str, ...]


def back_up(database: Database, settings: Settings, out: Path, *, user: str) -> Backup:
    """Copy everything into a new folder, look whether it is whole, and write that down.

    Raises
    ------
    ConfigError
        The folder is there already or cannot be made, or the ledger is no SQLite file.
    NodeError
        The ledger or its audit trail is not whole, or there is no room for the copy.
    """
    if database.url.get_backend_name() != "sqlite":
        raise ConfigError(
            f"a ledger in SQLite expected: save this one by PostgreSQL's own tools, then the files in {settings.data}"
        )
    try:
        out.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"a new folder expected for the copy; {out} cannot be made: {error.strerror}") from error
    try:
        _copy_ledger(Path(str(database.url.database)), out / LEDGER)
        with closing(Database(f"sqlite:///{out / LEDGER}")) as copy:
            copy.check()
            with copy.read() as session:
                trail = audit.verify(session)
            files = _copy_files(copy, database, settings, out)
        lost_weights = _copy_weights(settings.data, out)
        os.sync()
    except (Damaged, Broken) as error:
        raise NodeError(f"what was copied to {out} is no good: {error}") from error
    except OSError as error:
        raise NodeError(f"the copy in {out} is not whole: {error.strerror}; make room and take another") from error
    with (out / LEDGER).open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    instances, results, missing = files
    backup = Backup(trail.lines, trail.last, trail.digest, instances, results, (*missing, *lost_weights))
    details = {"sha256": sha256, "lines": backup.lines, "missing": len(backup.missing)}
    with database.write() as session:
        audit.record(session, "backup made", now=time.time(), actor="backup", user=user, details=details)
    return backup


def _copy_ledger(source: Path, target: Path) -> None:
    """Copy the ledger as it is at one moment; whoever writes to it meanwhile is not held up."""
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here, closing(sqlite3.connect(target)) as copy:
        here.backup(copy)


def _copy_files(copy: Database, database: Database, settings: Settings, out: Path) -> tuple[int, int, tuple[str, ...]]:
    """Copy the files that the copied ledger names; give how many instances and results, and the UIDs of the lost."""
    spool, results = line.spool_of(settings), line.results_of(settings)
    kept = Spool(out / spool.root.name)
    kept.prepare()
    missing: list[str] = []
    instances = made = 0
    with copy.read() as session:
        for uid, sha256 in arrivals.kept(session):
            if _copy(spool.path_of(uid, sha256), path := kept.path_of(uid, sha256)) and is_intact(path, sha256):
                instances += 1
            elif _is_kept(database, Instance.deleted_at, Instance.sop_instance_uid == uid):
                missing.append(uid)
        for uid, name, sha256 in session.execute(WRITTEN):
            if _copy(results / name, path := out / results.name / name) and _has(path, sha256):
                made += 1
            elif _is_kept(database, Result.deleted_at, Result.sop_instance_uid == uid):
                missing.append(uid)
    return instances, made, tuple(missing)


def _copy_weights(data: Path, out: Path) -> list[str]:
    """Copy the weights that the site imported; name those that are not what their pin says."""
    lost = []
    for name in site_names(data):
        folder = shutil.copytree(site_folder(data, name), site_folder(out, name))
        if not _has(folder / MODELS / MODEL, read_site_pin(folder).sha256):
            lost.append(f"weights {name}")
    return lost


def _copy(source: Path, target: Path) -> bool:
    """Copy a file; say whether it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return False
    return True


def _has(path: Path, sha256: str) -> bool:
    """Say whether a file holds what was written."""
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _is_kept(database: Database, deleted_at: InstrumentedAttribute[float | None], one: ColumnElement[bool]) -> bool:
    """Say whether the node still has to hold a file; else it was deleted in due course after the ledger was copied."""
    with database.read() as session:
        return session.execute(select(deleted_at).where(one)).one_or_none() == (None,)
