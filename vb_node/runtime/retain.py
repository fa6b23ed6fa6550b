"""The janitor: lets the files of delivered studies go when they are old, or when the disk fills up."""

import logging
import threading
from collections.abc import Collection
from pathlib import Path

from storage import retention
from storage.database import Database
from storage.disk import Disk
from storage.spool import Spool
from vb_node.config import RetentionSettings, Settings
from vb_node.runtime.line import results_of, spool_of, turn

log = logging.getLogger(__name__)

STATION = "retain"
DAY_S, TURN_S = 86400.0, 60.0


def disk_of(settings: Settings) -> Disk:
    """Give the disk under the data folder, with the watermarks that a site has set."""
    settings.data.mkdir(parents=True, exist_ok=True)
    own = settings.retention
    return Disk(settings.data, own.warn_at, own.stop_at, int(own.stop_free_gb * 2**30), own.reserve_mb << 20)


class Janitor:
    """Lets go of one study a step."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        results: Path,
        disk: Disk,
        settings: RetentionSettings,
        committing: Collection[str] = (),
    ) -> None:
        self.database = database
        self.spool = spool
        self.results = results
        self.disk = disk
        self.settings = settings
        self.committing = committing

    def step(self, now: float) -> bool:
        """Let go of the oldest study that may go; give False if there is none."""
        if self.settings.days is None:
            return False
        old = now - DAY_S * self.settings.days
        if self._let_go(old, f"older than {self.settings.days:g} days", is_delivered=False, now=now):
            return True
        if not self.disk.is_high():
            return False
        share = f"{self.disk.used:.0%} of the disk used"
        return self._let_go(now, share, is_delivered=True, now=now)

    def _let_go(self, before: float, why: str, *, is_delivered: bool, now: float) -> bool:
        with self.database.read() as session:
            study = retention.oldest(session, before=before, committing=self.committing, is_delivered=is_delivered)
        if study is None:
            return False
        with self.database.write() as session:
            choice = retention.oldest(session, before=before, committing=self.committing, is_delivered=is_delivered)
            if choice != study:
                return True  # something came meanwhile: the next step looks again
            instances, results = retention.let_go(session, study, why, now=now)
            # Before the commit: a crash in between leaves rows of missing files, and the next step takes them again.
            for instance in instances:
                self.spool.path_of(instance.sop_instance_uid, instance.sha256).unlink(missing_ok=True)
            for result in results:
                (self.results / result.path).unlink(missing_ok=True)
        ids = {"study_instance_uid": study, "instances": len(instances), "results": len(results)}
        log.info("study let go", extra=ids | {"why": why})
        return True


def retain_files(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    """Turn the janitor once a minute, and at once again while it finds something."""
    committing = [one.name for one in settings.destinations if one.commitment]
    janitor = Janitor(
        database, spool_of(settings), results_of(settings), disk_of(settings), settings.retention, committing
    )

    def step(now: float) -> bool:
        return janitor.step(now) or stop.wait(TURN_S)

    turn(STATION, step, stop)
