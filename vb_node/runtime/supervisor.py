"""The node: one process a station, started, watched, started again, and given another configuration while it runs.

Whatever is killed, nothing that was answered Success is lost: the stations meet only on disk. A station dies with
its supervisor. SIGHUP asks for the configuration file to be read again: only the stations that it concerns change,
associations that are open go on to their end, and what does not work is taken back.
"""

import fcntl
import getpass
import hashlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy.exc import OperationalError

from storage import audit, stations
from storage.database import Database
from vb_node import __version__, changes, config
from vb_node.config import Settings
from vb_node.dimse.listener import bind
from vb_node.errors import ConfigError
from vb_node.pipeline.application import installed
from vb_node.runtime import line, retain, supervised
from vb_node.runtime.node import TAKING, WEB, check_ledger

log = logging.getLogger(__name__)

RESTART_S, STOP_S, START_S = 1.0, 15.0, 60.0
ALONE_S, LOOK_S = 5.0, 0.05
BIND_S = 5.0  # for stations of a supervisor that was killed a moment ago
WRONG_CONFIGURATION = 2  # with this status a station ends that another start would not help

Address = tuple[str, int]

# What of a configuration a station reads; one that is not named here reads all.
CONCERNS: Mapping[str, Callable[[Settings], Any]] = {
    "receive": lambda read: (read.node, read.receive, read.retention, any(to.commitment for to in read.destinations)),
    "assemble": lambda read: (read.node, read.assemble, read.routes, read.destinations, read.virtual_biopsy),
    "work": lambda read: (
        read.node,
        read.work,
        read.drift,
        read.virtual_biopsy,
        [route.virtual_biopsy for route in read.routes],
        read.destinations,
    ),
    "deliver": lambda read: (read.node, read.destinations),
}


class NotReady(Exception):
    """A station does not start with this configuration."""


@dataclass
class Child:
    """The process of a station; it writes to the pipe when it works, and closes it when it takes nobody new."""

    name: str
    number: int
    settings: Settings
    process: "subprocess.Popen[bytes]"
    pipe: IO[bytes]

    def wait_ready(self) -> None:
        """Wait until it works; raise ``NotReady``."""
        if not self._hear():
            raise NotReady(f"station {self.name} does not start with it, the log says why")

    @property
    def has_spoken(self) -> bool:
        """Whether it works, or has ended."""
        return bool(select.select([self.pipe], [], [], 0)[0])

    def wait_left(self) -> None:
        """Wait until it takes nobody new."""
        while self._hear():
            pass

    def _hear(self) -> bytes:
        heard, _, _ = select.select([self.pipe], [], [], START_S)
        return self.pipe.read(1) if heard else b""


def supervise(file: Path) -> int:
    """Run a node until SIGTERM or SIGINT; give the exit status, or raise ``ConfigError``."""
    values = config.read(file)
    settings = config.build(values, str(file))
    installed()
    with _alone(settings):
        check_ledger(settings)
        return Supervisor(file, values, settings).run()


class Supervisor:
    """Keeps the stations of a node running."""

    def __init__(self, file: Path, values: dict[str, Any], settings: Settings) -> None:
        self._file = file
        self._stop, self._is_asked = threading.Event(), threading.Event()
        self._children: list[Child] = []
        self._leaving: list[Child] = []
        self._sockets: dict[Address, socket.socket] = {}
        self._janitor = threading.Event()
        self._adopt(values, settings, BIND_S)

    def run(self) -> int:
        """Run every station in a process of its own until SIGTERM or SIGINT; give the exit status."""
        for told in (signal.SIGTERM, signal.SIGINT):
            supervised.set_at(told, self._stop)
        supervised.set_at(signal.SIGHUP, self._is_asked)
        self._start_all()
        asked = self._settings.receive
        said: dict[str, Any] = {"version": __version__, "configuration_sha256": changes.digest(self._settings)}
        self._tell("node started", **said)
        log.info(
            "node started",
            extra={"ae_title": self._settings.node.ae_title, "host": asked.host, "port": asked.port},
        )
        status = None
        while status is None and not self._stop.wait(RESTART_S):
            if self._is_asked.is_set():
                self._is_asked.clear()
                self._change()
            status = self._look()
        self._janitor.set()
        _end([*self._children, *self._leaving])
        self._tell("node stopped", **said, exit_status=status or 0)
        log.info("node stopped")
        return status or 0

    def _start_all(self) -> None:
        """Start every station, the one that receives first; for some seconds it has the processor for itself."""
        for name, count in _counts(self._settings).items():
            self._children += [self._start(name, number + 1) for number in range(count)]
            until = time.monotonic() + ALONE_S
            while name == line.RECEIVE and time.monotonic() < until and not self._stop.is_set():
                if all(child.has_spoken for child in self._children):
                    break
                time.sleep(LOOK_S)

    def _look(self) -> int | None:
        """Start again what died; give the exit status where that would not help."""
        for place, child in enumerate(self._children):
            if child.process.poll() is not None:
                log.error("station died", extra={"station": child.name, "exit_status": child.process.returncode})
                if child.process.returncode == WRONG_CONFIGURATION:
                    return WRONG_CONFIGURATION
                self._children[place] = self._start(child.name, child.number)
        for child in [one for one in self._leaving if one.process.poll() is not None]:
            if self._forget(child):
                self._leaving.remove(child)
        return None

    def _start(self, name: str, number: int) -> Child:
        running = self._settings.data / "running.json"
        command = [sys.executable, "-m", "vb_node", "serve", "--config", str(running), "--only", name]
        read, write = os.pipe()
        try:
            address = _address(name, self._settings)
            process = supervised.start(command, number, address and self._sockets[address], write)
        finally:
            os.close(write)
        return Child(name, number, self._settings, process, os.fdopen(read, "rb"))

    def _adopt(self, values: dict[str, Any], settings: Settings, within_s: float = 0.0) -> None:
        """Make a configuration the one in force: its sockets, the file that stations start with, the janitor."""
        for name in _counts(settings):
            address = _address(name, settings)
            if address is not None and address not in self._sockets:
                self._sockets[address] = bind(address, within_s)
        self._values, self._settings = values, settings
        running = settings.data / "running.json"
        running.unlink(missing_ok=True)
        with os.fdopen(os.open(running, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
            json.dump(values, stream)
        self._janitor.set()
        self._janitor = threading.Event()
        threading.Thread(target=retain.retain_files, args=(settings, self._janitor), daemon=True).start()

    def _change(self) -> None:
        """Read the file again and bring every station to it; what does not work changes nothing."""
        former = self._values, self._settings
        said: dict[str, Any] = {}
        try:
            said["file_sha256"] = hashlib.sha256(self._file.read_bytes()).hexdigest()
            values = config.read(self._file)
            settings = config.build(values, str(self._file))
            said["configuration_sha256"] = changes.digest(settings)
            differing = changes.between(self._settings, settings)
            changes.check(differing)
            self._adopt(values, settings)
        except (ConfigError, OSError) as error:
            log.error("configuration refused, the former goes on", extra={"why": str(error)})
            self._tell("configuration refused", "refused", **said, why=str(error))
            return
        try:
            self._fit()
        except NotReady as error:
            log.error("configuration taken back, the former goes on", extra={"why": str(error)})
            self._adopt(*former)
            self._fit()
            self._tell("configuration taken back", "failure", **said, why=str(error))
        else:
            log.info("configuration applied", extra={"keys": [one.key for one in differing]})
            self._tell("configuration applied", **said, changes=[vars(one) for one in differing])
        self._close_others()

    def _fit(self) -> None:
        """Bring each station to the configuration in force; raise ``NotReady``."""
        counts = _counts(self._settings)
        for name in {child.name for child in self._children} | counts.keys():
            mine = [child for child in self._children if child.name == name]
            concern = CONCERNS.get(name, _all)
            is_same = all(concern(child.settings) == concern(self._settings) for child in mine)
            if not is_same or len(mine) != counts.get(name, 0):
                self._replace(name, mine, counts.get(name, 0))

    def _replace(self, name: str, former: list[Child], count: int) -> None:
        """Start a station anew: where it listens beside the former, who go when their peers have left."""
        others = [child for child in self._children if child.name != name]
        if name not in TAKING:
            self._children = others
            _end(former)
        first = 1 + (max((child.number for child in former), default=0) if name in TAKING else 0)
        new = [self._start(name, first + number) for number in range(count)]
        try:
            for child in new:
                child.wait_ready()
        except NotReady:
            _end(new)
            raise
        self._children = [*others, *new]
        if name in TAKING:
            for child in former:
                child.process.send_signal(supervised.LEAVE)
            for child in former:
                child.wait_left()
            self._leaving += former

    def _close_others(self) -> None:
        """Close the sockets on which nobody listens any more."""
        wanted = {_address(name, self._settings) for name in TAKING}
        for address in self._sockets.keys() - wanted:
            if address is not None:
                self._sockets.pop(address).close()

    def _forget(self, child: Child) -> bool:
        """Take a process that has left out of the ledger; say whether that could be written."""
        try:
            with closing(Database(self._settings.database_url)) as database, database.write() as session:
                stations.forget(session, f"{child.name} {child.number}")
        except OperationalError:
            log.exception("not in the ledger", extra={"of": "station left"})
            return False
        return True

    def _tell(self, event: str, outcome: audit.Outcome = "success", **details: Any) -> None:
        """Write an event down; a ledger that cannot be written now stops nothing."""
        user, now = getpass.getuser(), time.time()
        try:
            with closing(Database(self._settings.database_url)) as database, database.write() as session:
                audit.record(session, event, now=now, actor="node", user=user, outcome=outcome, details=details)
        except OperationalError:
            log.exception("not in the audit trail", extra={"of": event})


def _all(settings: Settings) -> Settings:
    return settings


def _counts(settings: Settings) -> dict[str, int]:
    """Give how many processes each station has."""
    counts = dict.fromkeys(line.wanted(settings), 1)
    counts |= {"receive": settings.receive.process_count, "work": settings.work.workers}
    return counts if settings.web is None else counts | {WEB: 1}


def _address(name: str, settings: Settings) -> Address | None:
    """Give where a station listens, if it does."""
    asked = {line.RECEIVE: settings.receive, WEB: settings.web}.get(name)
    return None if asked is None else (asked.host, asked.port)


def _end(children: list[Child]) -> None:
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + STOP_S
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Be the only node of a data folder; raise ``ConfigError``."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"node.data {settings.data}: a folder expected ({error.strerror})") from error
    with _pid_file(settings).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"a node (process {pid_of(settings)}) runs with the data folder {settings.data}: stop it first, or "
                "give each node a `node.data` of its own"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def pid_of(settings: Settings) -> int | None:
    """Give the process of the node that runs with this data folder, if one does."""
    try:
        with _pid_file(settings).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(_pid_file(settings).read_text() or 0) or None
    return None


def _pid_file(settings: Settings) -> Path:
    return settings.data / "node.pid"
