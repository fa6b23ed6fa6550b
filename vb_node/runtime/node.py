"""The node: one process a station, started, watched and started again by a supervisor.

Whatever is killed, nothing that was answered Success is lost: the stations meet only on disk. A station dies with
its supervisor.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from storage import stations
from storage.database import Database, SchemaMismatch
from storage.spool import Spool
from vb_node.config import Settings
from vb_node.dimse import scp
from vb_node.errors import ConfigError
from vb_node.pipeline.application import installed
from vb_node.runtime import assemble, commit, deliver, receive, work
from vb_node.runtime.assemble import Assembler
from vb_node.runtime.deliver import Deliverer
from vb_node.runtime.receive import Receiver
from vb_node.runtime.work import Worker

log = logging.getLogger(__name__)

STATIONS = ("receive", "assemble", "work", "deliver")
IDLE_S, BEAT_S, RESTART_S, STOP_S = 0.2, 2.0, 1.0, 15.0
SUPERVISED = "VBNODE_SUPERVISED"
WRONG_CONFIGURATION = 2  # with this status a station ends that another start would not help
PR_SET_PDEATHSIG = 1

Step = Callable[[float], bool]


def open_ledger(settings: Settings) -> Database:
    """Open the ledger and bring its tables to this version; raise ``ConfigError``."""
    database = Database(settings.database_url)
    try:
        database.upgrade()
    except SchemaMismatch as mismatch:
        raise ConfigError(str(mismatch)) from mismatch
    return database


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.data / "spool")


def results_of(settings: Settings) -> Path:
    return settings.data / "results"


def supervise(settings: Settings, config: Path) -> int:
    """Run every station in a process of its own until SIGTERM or SIGINT; give the exit status."""
    open_ledger(settings).close()
    installed()
    for reserved in ("web", "retention"):
        if getattr(settings, reserved) is not None:
            log.warning("section of the configuration is reserved and has no effect yet", extra={"section": reserved})
    stop = _stop_on_signals()
    names = [name for name in STATIONS for _ in range(settings.work.workers if name == "work" else 1)]
    children = [(name, _spawn(name, config)) for name in names]
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


def turn(station: str, step: Step, stop: threading.Event) -> None:
    """Call a station's step until told to stop; a bug in one step does not stop the line."""
    log.info("station ready", extra={"station": station})
    while not stop.is_set():
        try:
            is_busy = step(time.time())
        except Exception:
            log.exception("step failed", extra={"station": station})
            is_busy = False
            stop.wait(BEAT_S)
        if not is_busy:
            stop.wait(IDLE_S)


def _receive(database: Database, settings: Settings, stop: threading.Event) -> None:
    spool = spool_of(settings)
    receiver = Receiver(database, spool)
    with database.write() as session:
        stations.start(session, receive.STATION, now=time.time())
    spool.sweep()
    server = scp.listen(
        settings.node.ae_title,
        (settings.receive.host, settings.receive.port),
        receiver.store,
        peers=[scp.Peer(peer.ae_title, peer.hosts) for peer in settings.receive.peers],
        on_reject=receiver.tell_rejection,
        on_commitment=commit.taker(database) if any(one.commitment for one in settings.destinations) else None,
        limits=scp.Limits(settings.receive.max_associations, settings.receive.max_pdu),
    )
    if rebuilt := receiver.recover():
        log.info("arrivals rebuilt from the spool", extra={"instances": rebuilt})

    def beat(now: float) -> bool:
        with database.write() as session:
            stations.beat(session, receive.STATION, now=now)
        stop.wait(BEAT_S)
        return False

    turn(receive.STATION, beat, stop)
    server.shutdown()


def _assemble(database: Database, settings: Settings, stop: threading.Event) -> None:
    assembler = Assembler(database, spool_of(settings), settings, installed())
    turn(assemble.STATION, assembler.step, stop)


def _work(database: Database, settings: Settings, stop: threading.Event) -> None:
    serial_number = settings.node.ae_title
    profiles = {destination.name: destination.viewer_profile for destination in settings.destinations}
    worker = Worker(
        database, spool_of(settings), results_of(settings), installed(), settings.work, serial_number, stop, profiles
    )
    turn(work.STATION, worker.step, stop)


def _deliver(database: Database, settings: Settings, stop: threading.Event) -> None:
    """Turn one deliverer a destination, so that one that is down does not hold up the others."""
    known = [destination.name for destination in settings.destinations]
    steps = [
        Deliverer(database, results_of(settings), destination, settings.node.ae_title).step
        for destination in settings.destinations
    ]
    threads = [
        threading.Thread(target=turn, args=(f"deliver {name}", step, stop))
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
