"""The node: one process a station, started, watched and started again by a supervisor.

Whatever is killed, nothing that was answered Success is lost: the stations meet only on disk. A station dies with
its supervisor.
"""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from storage import associations, audit, stations
from storage.database import Damaged, Database, SchemaMismatch, has_wal_reset_fault
from vb_node import __version__
from vb_node.config import Settings
from vb_node.errors import ConfigError
from vb_node.pipeline.application import installed
from vb_node.runtime import line, receive
from vb_node.runtime.confine import die_with

log = logging.getLogger(__name__)

RESTART_S, STOP_S = 1.0, 15.0
SUPERVISED, NUMBER = "VBNODE_SUPERVISED", "VBNODE_NUMBER"
WEB = "web"  # the station of the floor above
WRONG_CONFIGURATION = 2  # with this status a station ends that another start would not help
REMEDY = (
    "keep a copy of it, then put your last backup in its place, or move it away: at the next start the instances are "
    "read again from the spool, jobs and audit trail stay in the copy"
)


def open_ledger(settings: Settings) -> Database:
    """Open the ledger and bring its tables to this version; raise ``ConfigError``."""
    database = Database(settings.database_url)
    try:
        database.upgrade()
    except SchemaMismatch as mismatch:
        raise ConfigError(str(mismatch)) from mismatch
    except Damaged as damage:
        raise ConfigError(f"{damage}; {REMEDY}") from damage
    return database


def check_ledger(settings: Settings) -> None:
    """Look at the whole ledger before anything starts, and end what an earlier run left; raise ``ConfigError``."""
    with closing(open_ledger(settings)) as database:
        try:
            database.check()
        except Damaged as damage:
            raise ConfigError(f"{damage}; {REMEDY}") from damage
        with database.write() as session:
            stations.forget(session, receive.STATION)  # perhaps it had more processes
            associations.interrupt(session, now=time.time())
    if has_wal_reset_fault():
        log.warning(
            "SQLite is older than 3.51.3: writers and checkpoints are kept apart by a lock",
            extra={"sqlite": sqlite3.sqlite_version},
        )


def supervise(settings: Settings, config: Path) -> int:
    """Run every station in a process of its own until SIGTERM or SIGINT; give the exit status."""
    check_ledger(settings)
    installed()
    stop = _stop_on_signals()
    counts = {"receive": settings.receive.process_count, "work": settings.work.workers}
    names = [*line.wanted(settings), *([WEB] if settings.web is not None else [])]
    numbered = [(name, number + 1) for name in names for number in range(counts.get(name, 1))]
    children = [(name, number, _spawn(name, number, config)) for name, number in numbered]
    threading.Thread(target=line.retain_files, args=(settings, stop), daemon=True).start()
    _tell(settings, "node started", {"version": __version__, "config_sha256": sha256(config.read_bytes()).hexdigest()})
    log.info(
        "node started",
        extra={"ae_title": settings.node.ae_title, "host": settings.receive.host, "port": settings.receive.port},
    )
    while not stop.wait(RESTART_S):
        for place, (name, number, child) in enumerate(children):
            if child.poll() is None:
                continue
            log.error("station died", extra={"station": name, "exit_status": child.returncode})
            if child.returncode == WRONG_CONFIGURATION:
                return _end(settings, children, WRONG_CONFIGURATION)
            children[place] = (name, number, _spawn(name, number, config))
    return _end(settings, children, 0)


def _spawn(name: str, number: int, config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(config), "--only", name]
    return subprocess.Popen(command, env=os.environ | {SUPERVISED: str(os.getpid()), NUMBER: str(number)})  # noqa: S603  our own program


def _tell(settings: Settings, event: str, details: dict[str, Any]) -> None:
    """Write down that the node starts or stops; a ledger that cannot be written now stops neither."""
    try:
        with closing(Database(settings.database_url)) as database, database.write() as session:
            audit.record(session, event, now=time.time(), actor="node", details=details)
    except OperationalError:
        log.exception("not in the audit trail", extra={"of": event})


def _end(settings: Settings, children: list[tuple[str, int, subprocess.Popen[bytes]]], status: int) -> int:
    for _, _, child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_S
    for _, _, child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _tell(settings, "node stopped", {"version": __version__, "exit_status": status})
    log.info("node stopped")
    return status


def run_station(name: str, settings: Settings, station: line.Station) -> int:
    """Run one station in this process until SIGTERM or SIGINT; give the exit status."""
    _die_with_supervisor()
    stop = _stop_on_signals()
    database = open_ledger(settings)
    try:
        station(database, settings, stop, int(os.environ.get(NUMBER, "1")))
    except ConfigError:
        raise
    except Exception:
        log.exception("station failed", extra={"station": name})
        return 1
    finally:
        database.close()
    return 0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _die_with_supervisor() -> None:
    """End with the supervisor: a station may be killed at any time; what it had in hand is claimed again."""
    supervisor = os.environ.get(SUPERVISED)
    if supervisor is not None:
        die_with(int(supervisor))
