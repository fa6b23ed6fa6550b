"""Keeps a lease while a job is worked on, from a thread of its own; one that stands still is not kept for ever."""

import logging
import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from storage import jobs
from storage.database import Database
from vb_node.errors import Later

log = logging.getLogger(__name__)


class Stopping(Later):
    """The worker was told to stop; the job waits on the shelf for the next one."""


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """Keeps a lease while its block runs.

    A computation ends at its own limit (``runtime.cell``); a process whose block still runs after ``longest_s``, on a
    disk that does not answer for instance, is killed, and the job goes to the next worker when its lease has lapsed.
    """

    def __init__(
        self, database: Database, lease: jobs.Lease, lease_s: float, stop: threading.Event, longest_s: float
    ) -> None:
        self.database, self.lease, self.lease_s, self.stop = database, lease, lease_s, stop
        self.longest_s = longest_s
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
        until = time.monotonic() + self.longest_s
        while not self._over.wait(self.lease_s / 6):
            if time.monotonic() > until:
                log.critical("worker stands still, killed", extra={"job": self.lease.job_id, **self.at})
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                with self.database.write() as session:
                    jobs.keep(session, self.lease, lease_s=self.lease_s, now=time.time(), **self.at)
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
