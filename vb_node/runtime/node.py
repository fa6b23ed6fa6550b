"""The node: one process a station, started, watched and started again by a supervisor.

Whatever is killed, nothing that was answered Success is lost: the stations meet only on disk. A station dies with
its supervisor.
"""

import ctypes
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import OperationalError

from storage import associations, stations
from storage.database import Damaged, Database, SchemaMismatch, has_wal_reset_fault
from storage.spool import Spool
from vb_node.config import Settings
from vb_node.dimse import scp
from vb_node.errors import ConfigError
from vb_node.pipeline.application import installed
from vb_node.runtime import assemble, deliver, receive, retain, work
from vb_node.runtime.assemble import Assembler
from vb_node.runtime.deliver import Deliverer
from vb_node.runtime.receive import Receiver
from vb_node.runtime.work import Worker

log = logging.getLogger(__name__)

STATIONS = ("receive", "assemble", "work", "deliver")
IDLE_S, LOOK_S, BEAT_S, RESTART_S, STOP_S = 0.2, 0.05, 2.0, 1.0, 15.0
SUPERVISED = "VBNODE_SUPERVISED"
WRONG_CONFIGURATION = 2  # with this status a station ends that another start would not help
JANITOR_S = 60.0
REMEDY = (
    "keep a copy of it, then put your last backup in its place, or move it away: at the next start the instances are "
    "read again from the spool, jobs and audit trail stay in the copy"
)
PR_SET_PDEATHSIG = 1

Step = Callable[[float], bool]


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
    """Look at the whole ledger before anything starts; raise ``ConfigError``."""
    database = open_ledger(settings)
    try:
        database.check()
    except Damaged as damage:
        raise ConfigError(f"{damage}; {REMEDY}") from damage
    finally:
        database.close()
    if has_wal_reset_fault():
        log.warning(
            "SQLite is older than 3.51.3: writers and checkpoints are kept apart by a lock",
            extra={"sqlite": sqlite3.sqlite_version},
        )


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.data / "spool")


def results_of(settings: Settings) -> Path:
    return settings.data / "results"


def supervise(settings: Settings, config: Path) -> int:
    """Run every station in a process of its own until SIGTERM or SIGINT; give the exit status."""
    check_ledger(settings)
    installed()
    if settings.web is not None:
        log.warning("section of the configuration is reserved and has no effect yet", extra={"section": "web"})
    stop = _stop_on_signals()
    names = [name for name in STATIONS for _ in range(settings.work.workers if name == "work" else 1)]
    children = [(name, _spawn(name, config)) for name in names]
    threading.Thread(target=_retain, args=(settings, stop), daemon=True).start()
    log.info(
        "node started",
        extra={"ae_title": settings.node.ae_title, "host": settings.receive.host, "port": settings.receive.port},
    )
    while not stop.wait(RESTART_S):
        for place, (name, child) in enumerate(children):
            if child.poll() is None:
                continue
            log.error("station died", extra={"station": name, "exit_status": child.returncode})
            if child.returncode == WRONG_CONFIGURATION:
                return _end(children, WRONG_CONFIGURATION)
            children[place] = (name, _spawn(name, config))
    return _end(children, 0)


def _retain(settings: Settings, stop: threading.Event) -> None:
    """Turn the janitor once a minute, and at once again while it finds something."""
    database = Database(settings.database_url)
    committing = [one.name for one in settings.destinations if getattr(one, "commitment", False)]
    janitor = retain.Janitor(
        database, spool_of(settings), results_of(settings), retain.disk_of(settings), settings.retention, committing
    )

    def step(now: float) -> bool:
        return janitor.step(now) or stop.wait(JANITOR_S)

    turn(retain.STATION, step, stop)
    database.close()


def _spawn(name: str, config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(config), "--only", name]
    return subprocess.Popen(command, env=os.environ | {SUPERVISED: str(os.getpid())})  # noqa: S603  our own program


def _end(children: list[tuple[str, subprocess.Popen[bytes]]], status: int) -> int:
    for _, child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_S
    for _, child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    log.info("node stopped")
    return status


def run_station(name: str, settings: Settings) -> int:
    """Run one station in this process until SIGTERM or SIGINT; give the exit status."""
    _die_with_supervisor()
    stop = _stop_on_signals()
    database = open_ledger(settings)
    try:
        {"receive": _receive, "assemble": _assemble, "work": _work, "deliver": _deliver}[name](database, settings, stop)
    except ConfigError:
        raise
    except Exception:
        log.exception("station failed", extra={"station": name})
        return 1
    finally:
        database.close()
    return 0


def turn(station: str, step: Step, stop: threading.Event, changes: Callable[[], int] = int) -> None:
    """Call a station's step until told to stop; a bug in one step does not stop the line.

    A step that finds nothing is called again when ``changes`` gives another number, at the latest after ``IDLE_S``.
    """
    log.info("station ready", extra={"station": station})
    while not stop.is_set():
        seen = changes()
        try:
            is_busy = step(time.time())
        except Exception:
            log.exception("step failed", extra={"station": station})
            is_busy = False
            stop.wait(BEAT_S)
        if not is_busy:
            _rest(stop, changes, seen)


def _rest(stop: threading.Event, changes: Callable[[], int], seen: int) -> None:
    deadline = time.monotonic() + IDLE_S
    while not stop.wait(LOOK_S) and time.monotonic() < deadline and changes() == seen:
        pass


def _receive(database: Database, settings: Settings, stop: threading.Event) -> None:
    spool = spool_of(settings)
    disk = retain.disk_of(settings)
    disk.mend()
    receiver = Receiver(database, spool, disk)
    with database.write() as session:
        stations.start(session, receive.STATION, now=time.time())
        associations.interrupt(session, now=time.time())
    spool.sweep()
    server = scp.listen(
        settings.node.ae_title,
        (settings.receive.host, settings.receive.port),
        receiver.store,
        peers=[scp.Peer(peer.ae_title, peer.hosts) for peer in settings.receive.peers],
        on_reject=receiver.tell_rejection,
        on_end=receiver.end,
        is_full=disk.is_full,
        limits=scp.Limits(settings.receive.max_associations, settings.receive.max_pdu),
    )
    if rebuilt := receiver.recover():
        log.info("arrivals rebuilt from the spool", extra={"instances": rebuilt})

    def beat(now: float) -> bool:
        if disk.mend():
            log.info("disk has space again, or the reserve is new", extra={"free_bytes": disk.free_bytes})
        try:
            with database.write() as session:
                stations.beat(session, receive.STATION, now=now)
        except OperationalError:
            receiver.spend_reserve()
            raise
        stop.wait(BEAT_S)
        return False

    turn(receive.STATION, beat, stop)
    server.shutdown()


def _assemble(database: Database, settings: Settings, stop: threading.Event) -> None:
    assembler = Assembler(database, spool_of(settings), settings, installed())
    turn(assemble.STATION, assembler.step, stop, database.changes)


def _work(database: Database, settings: Settings, stop: threading.Event) -> None:
    serial_number = settings.node.ae_title
    profiles = {destination.name: destination.viewer_profile for destination in settings.destinations}
    worker = Worker(
        database, spool_of(settings), results_of(settings), installed(), settings.work, serial_number, stop, profiles
    )
    turn(work.STATION, worker.step, stop, database.changes)


def _deliver(database: Database, settings: Settings, stop: threading.Event) -> None:
    """Turn one deliverer a destination, so that one that is down does not hold up the others."""
    known = [destination.name for destination in settings.destinations]
    steps = [
        Deliverer(database, results_of(settings), destination, settings.node.ae_title).step
        for destination in settings.destinations
    ]
    threads = [
        threading.Thread(target=turn, args=(f"deliver {name}", step, stop, database.changes))
        for name, step in zip(known, steps, strict=True)
    ]
    for thread in threads:
        thread.start()

    def park(now: float) -> bool:
        deliver.park_lost(database, known, now)
        stop.wait(BEAT_S)
        return False

    turn(deliver.STATION, park, stop)
    for thread in threads:
        thread.join()


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _die_with_supervisor() -> None:
    """Ask the kernel to kill this process when the supervisor ends, however it does (prctl(2)).

    A station may be killed at any time; what it had in hand is claimed again.
    """
    supervisor = os.environ.get(SUPERVISED)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):
        raise SystemExit(0)
