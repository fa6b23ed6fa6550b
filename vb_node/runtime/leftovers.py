"""What attempts that were lost left in the results folder: files that no row of the ledger names."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from storage import jobs
from storage.database import Database

log = logging.getLogger(__name__)


A_TURN = 500  # jobs for each look into the ledger


def sweep(database: Database, results: Path, job_id: int | None = None) -> int:
    """Remove what lost attempts left, of one job or of all; give how many there were.

    An attempt that runs keeps its folder: its lease is committed before the folder is made, and the ledger is read
    after the disk.
    """
    owners = sorted(results.glob(f"{job_id or '[0-9]*'}/"))
    return sum(_sweep(database, owners[start : start + A_TURN]) for start in range(0, len(owners), A_TURN))


def _sweep(database: Database, owners: Sequence[Path]) -> int:
    attempts = [folder for owner in owners for folder in owner.iterdir() if folder.is_dir()]
    with database.read() as session:
        kept = jobs.kept_attempts(session, [int(owner.name) for owner in owners])
    lost = [folder for folder in attempts if f"{folder.parent.name}/{folder.name}" not in kept]
    for folder in lost:
        shutil.rmtree(folder, ignore_errors=True)
        log.info("left by a lost attempt, removed", extra={"job": int(folder.parent.name), "token": folder.name})
    return len(lost)
