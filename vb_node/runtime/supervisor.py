"""The node: one process a station, forked, watched, forked again, and given another configuration while it runs.

Whatever is killed, nothing that was answered Success is lost: the stations meet only on disk. A station dies with
its supervisor. SIGHUP asks for the configuration file to be read again: only the stations that it concerns change,
associations that are open go on to their end, and what does not work is taken back.
"""

import fcntl
import hashlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import associations, audit, stations
from storage.account import account
from storage.database import Database
from vb_node import __version__, changes, config
from vb_node.config import Settings
from vb_node.dimse.listener import bind
from vb_node.errors import ConfigError
from vb_node.pipeline.application import installed
from vb_node.runtime import collector, line, supervised
from vb_node.runtime.node import TAKING, WEB, WRONG_CONFIGURATION, check_ledger, heard_as, run_station

log = logging.getLogger(__name__)

RESTART_S, STOP_S, START_S = 1.0, 15.0, 60.0
BIND_S = 5.0  # for stations of a supervisor that was killed a moment ago

Address = tuple[str, int]
Find = Callable[[str], line.Station]  # gives a station by its name, imported

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
    "retain": lambda read: (read.node, read.retention, read.destinations),
}


class NotReady(Exception):
    """A station does not start with this configuration."""


@dataclass
class Child:
    """The process of a station; it writes to the pipe when it works, and closes it when it takes nobody new."""

    name: str
    number: int
    settings: Settings
    process: supervised.Process
    pipe: IO[bytes]
    is_first: bool = False  # of a node that has just been started

    @property
    def row(self) -> str:
        """The name by which the ledger knows it."""
        return heard_as(self.name, self.number)

    def wait_ready(self) -> None:
        """Wait until it works; raise ``NotReady``."""
        if not self._hear():
            raise NotReady(f"station {self.name} does not start with it, the log says why")

    def wait_left(self) -> None:
        """Wait until it takes nobody new."""
        while self._hear():
            pass

    def _hear(self) -> bytes:
        heard = select.poll()
        heard.register(self.pipe, select.POLLIN)
        return self.pipe.read(1) if heard.poll(1000 * START_S) else b""


def supervise(file: Path, find: Find) -> int:
    """Run a node of the stations that ``find`` gives until SIGTERM or SIGINT; give the exit status.

    Raises
    ------
    ConfigError
        It cannot start with this configuration, or another runs with it.
    """
    settings = config.load(file)
    installed()
    with _alone(settings) as lock:
        check_ledger(settings)
        return Supervisor(file, settings, find, lock).run()


class Supervisor:
    """Keeps the stations of a node running."""

    def __init__(self, file: Path, settings: Settings, find: Find, lock: IO[str]) -> None:
        self._file, self._find, self._lock = file, find, lock
        self._told: SimpleQueue[int] = SimpleQueue()  # signals; their handler may put into it whatever this thread does
        self._children: list[Child] = []
        self._leaving: list[Child] = []
        self._sockets: dict[Address, socket.socket] = {}
        self._adopt(settings, BIND_S)

    def run(self) -> int:
        """Run every station in a process of its own until SIGTERM or SIGINT; give the exit status."""
        for told in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(told, lambda number, _frame: self._told.put(number))
        try:
            self._start_all()
            asked = self._settings.receive
            said: dict[str, Any] = {"version": __version__, "configuration_sha256": changes.digest(self._settings)}
            self._tell("node started", **said)
            log.info(
                "node started",
                extra={"ae_title": self._settings.node.ae_title, "host": asked.host, "port": asked.port},
            )
            status = self._keep()
        finally:
            _end([*self._children, *self._leaving])
        self._tell("node stopped", **said, exit_status=status)
        log.info("node stopped")
        return status

    def _keep(self) -> int:
        """Keep all stations running until told to stop; give the exit status."""
        status = None
        while status is None:
            told = self._hear()
            if told in (signal.SIGTERM, signal.SIGINT):
                return 0
            if told == signal.SIGHUP:
                self._change()
            status = self._look()
        return status

    def _hear(self) -> int | None:
        """Give the signal that came, None where none comes for a moment."""
        try:
            return self._told.get(timeout=RESTART_S)
        except Empty:
            return None

    def _start_all(self) -> None:
        """Start every station, the one that receives first."""
        self._find(line.RECEIVE)  # brings what all need but the pages
        collector.settle()
        launched = time.time()  # all together: what comes to the first of them is interrupted by no other
        for name, wanted in _counts(self._settings).items():
            for number in range(wanted):
                with _or_later(name):
                    self._children.append(replace(self._start(name, number + 1, launched), is_first=True))

    def _look(self) -> int | None:
        """Start again what died or is missing; give the exit status where the configuration never worked."""
        for place, child in enumerate(self._children):
            if (status := child.process.exit_status) is not None:
                log.error("station died", extra={"station": child.name, "exit_status": status})
                if status == WRONG_CONFIGURATION and child.is_first:
                    return WRONG_CONFIGURATION
                with _or_later(child.name):
                    self._children[place] = self._start(child.name, child.number, time.time())
        self._complete()
        living = {child.row for child in self._children}
        for child in [one for one in self._leaving if one.process.exit_status is not None]:
            if child.row in living or self._forget(child):
                self._leaving.remove(child)
        return None

    def _start(self, name: str, number: int, launched: float) -> Child:
        """Start a process of a station; raise ``NotReady`` where the system has none to give, or its code is gone."""
        try:
            return self._fork(name, number, launched)
        except (OSError, ImportError) as error:
            raise NotReady(f"station {name} cannot be started now ({error})") from error

    def _fork(self, name: str, number: int, launched: float) -> Child:
        station, settings, address = self._find(name), self._settings, _address(name, self._settings)
        listening = None if address is None else self._sockets[address]
        read, write = os.pipe()

        def run() -> int:
            self._let_go(but=listening)
            os.close(read)
            return run_station(name, settings, station)

        try:
            errand = supervised.Errand(number, launched, listening, write)
            process = supervised.start(f"vb-node serve --config {self._file} --only {name}", errand, run)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Child(name, number, settings, process, os.fdopen(read, "rb"))

    def _let_go(self, but: socket.socket | None) -> None:
        """Close what a station just forked has of its supervisor and is not to hold."""
        self._lock.close()
        for listening in self._sockets.values():
            if listening is not but:
                listening.close()
        for child in (*self._children, *self._leaving):
            child.pipe.close()

    def _adopt(self, settings: Settings, within_s: float = 0.0) -> None:
        """Make a configuration the one in force, with its sockets."""
        for name in _counts(settings):
            address = _address(name, settings)
            if address is not None and address not in self._sockets:
                self._sockets[address] = bind(address, within_s)
        self._settings = settings

    def _change(self) -> None:
        """Read the file again and bring every station to it; what does not work changes nothing."""
        former = self._settings
        said: dict[str, Any] = {}
        try:
            said["file_sha256"] = hashlib.sha256(self._file.read_bytes()).hexdigest()
            settings = config.load(self._file)
            said["configuration_sha256"] = changes.digest(settings)
            differing = changes.between(self._settings, settings)
            changes.check(differing)
            self._adopt(settings)
        except (ConfigError, OSError) as error:
            log.error("configuration refused, the former goes on", extra={"why": str(error)})
            self._tell("configuration refused", "refused", **said, why=str(error))
            self._close_others()
            return
        try:
            self._fit()
        except NotReady as error:
            log.error("configuration taken back, the former goes on", extra={"why": str(error)})
            self._adopt(former)
            self._complete()
            self._tell("configuration taken back", "failure", **said, why=str(error))
        else:
            log.info("configuration applied", extra={"keys": [one.key for one in differing]})
            self._tell("configuration applied", **said, changes=[vars(one) for one in differing])
        self._close_others()

    def _fit(self) -> None:
        """Bring each station to the configuration in force; raise ``NotReady`` at the first that does not start."""
        for name in self._unfit():
            self._replace(name)

    def _complete(self) -> None:
        """Start what is missing, or runs by another configuration after one that was taken back; the others go on."""
        for name in self._unfit():
            mine, wanted = self._of(name), _counts(self._settings).get(name, 0)
            with _or_later(name):
                if len(mine) < wanted and all(_is_same(child, self._settings) for child in mine):
                    taken = {child.number for child in mine}
                    for number in islice((one for one in count(1) if one not in taken), wanted - len(mine)):
                        self._children.append(self._start(name, number, time.time()))
                else:
                    self._replace(name)

    def _unfit(self) -> list[str]:
        """Name the stations whose processes are not as many as the configuration in force wants, or run by another."""
        counts, found = _counts(self._settings), []
        for name in {child.name for child in self._children} | counts.keys():
            mine = self._of(name)
            if len(mine) != counts.get(name, 0) or not all(_is_same(child, self._settings) for child in mine):
                found.append(name)
        return found

    def _of(self, name: str) -> list[Child]:
        return [child for child in self._children if child.name == name]

    def _replace(self, name: str) -> None:
        """Start a station anew: where it listens beside the former, who go when their peers have left."""
        wanted = _counts(self._settings).get(name, 0)
        former = self._of(name)
        others = [child for child in self._children if child.name != name]
        if name not in TAKING:
            self._children = others
            _end(former)
        first = 1 + (max((child.number for child in former), default=0) if name in TAKING else 0)
        launched, new = time.time(), list[Child]()
        try:
            for number in range(wanted):
                new.append(self._start(name, first + number, launched))
            for child in new:
                child.wait_ready()
        except NotReady:
            _end(new)
            self._leaving += new
            raise
        self._children = [*others, *new]
        if name in TAKING:
            for child in former:
                child.process.send(supervised.LEAVE)
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
        """Take a process that has left out of the ledger, with what it had open; say whether that could be written."""

        def forget(session: Session) -> None:
            stations.forget(session, child.row)
            associations.interrupt(session, child.row, now=time.time())

        return self._write("station left", forget)

    def _tell(self, event: str, outcome: audit.Outcome = "success", **details: Any) -> None:
        """Write an event down."""
        words: dict[str, Any] = {"actor": "node", "user": account(), "outcome": outcome, "details": details}
        self._write(event, lambda session: audit.record(session, event, now=time.time(), **words))

    def _write(self, of: str, say: Callable[[Session], None]) -> bool:
        """Write to the ledger; say whether it could be: one that cannot be written now stops nothing."""
        try:
            with closing(Database(self._settings.database_url)) as database, database.write() as session:
                say(session)
        except (OSError, SQLAlchemyError):
            log.exception("not in the ledger", extra={"of": of})
            return False
        return True


@contextmanager
def _or_later(name: str) -> Iterator[None]:
    """Let a station that does not start now be tried again, while the others go on."""
    try:
        yield
    except NotReady as error:
        log.error("station not started, tried again", extra={"station": name, "why": str(error)})


def _is_same(child: Child, settings: Settings) -> bool:
    """Say whether a configuration is to the station of a process what its own is."""
    concern = CONCERNS.get(child.name, _all)
    return bool(concern(child.settings) == concern(settings))


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


def _end(children: Iterable[Child]) -> None:
    for child in children:
        child.process.send(signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    for child in children:
        child.process.join(max(0.1, deadline - time.monotonic()))
        child.process.send(signal.SIGKILL)
        child.process.join(STOP_S)


@contextmanager
def _alone(settings: Settings) -> Iterator[IO[str]]:
    """Be the only node of a data folder, by a lock on a file; raise ``ConfigError``."""
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
        yield stream


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
