"""Whether the node is well, for those who watch it: no names, no versions, no login (RELIABILITY S6, W-20)."""

import logging
import time
from pathlib import Path
from uuid import uuid4

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from storage import stations
from storage.database import Database
from storage.disk import Disk
from storage.spool import write_durably

log = logging.getLogger(__name__)

KEEP_S = 1.0


class Health:
    """Answers ``/health``, that this process lives, and ``/ready``, that an instance could be taken now.

    ``spool`` is the folder of the instances, ``station`` the name under which this process says in the ledger that it
    is alive.
    """

    def __init__(self, database: Database, disk: Disk, spool: Path, station: str) -> None:
        self._database, self._disk, self._spool, self._station = database, disk, spool, station
        self._hand = CapacityLimiter(1)
        self._found: tuple[float, str | None] = -KEEP_S, None

    def routes(self) -> list[BaseRoute]:
        return [Route("/health", self.health), Route("/ready", self.ready)]

    async def health(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def ready(self, _request: Request) -> JSONResponse:
        why = await run_sync(self._look, limiter=self._hand)
        return (
            JSONResponse({"status": "ready"}) if why is None else JSONResponse({"status": "not ready", "why": why}, 503)
        )

    def _look(self) -> str | None:
        """Say what is wrong, None if nothing; asked many times a second, the disk is tried once."""
        at, why = self._found
        if time.monotonic() - at >= KEEP_S:
            why = self._try()
            self._found = time.monotonic(), why
        return why

    def _try(self) -> str | None:
        """Go the way of an instance: write, fsync, read back, commit, read back."""
        if self._disk.is_full():
            return "the disk is too full"
        try:
            _write_and_read(self._spool / "ready")
        except OSError:
            log.exception("spool not written")
            return "the spool cannot be written"
        try:
            self._commit_and_read(time.time())
        except Exception:  # whatever a database raises
            log.exception("ledger not written")
            return "the ledger cannot be written"
        return None

    def _commit_and_read(self, now: float) -> None:
        with self._database.write() as session:
            stations.beat(session, self._station, now=now)
        with self._database.read() as session:
            station = stations.get(session, self._station)
        if station is None or station.beat_at < now:
            raise OSError("the ledger gives back something else")


def _write_and_read(path: Path) -> None:
    token = uuid4().bytes
    write_durably(path, token)
    if path.read_bytes() != token:
        raise OSError("the disk gives back something else")
