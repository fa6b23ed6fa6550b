"""The process of a station: how it is made, what it gets from its supervisor, and what the two tell each other.

A station is forked from its supervisor, which has imported all that stations need: it works at once, and what it does
not change of the memory is there once for all of them. The supervisor holds the listening sockets: a station that is
started again loses no connection that waits in them.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from setproctitle import setproctitle

from vb_node.runtime.fate import die_with

log = logging.getLogger(__name__)

LOOK_S = 0.01
UNKNOWN = 1
LEAVE = signal.SIGUSR1
TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, LEAVE)

leaving = threading.Event()  # set: take nobody new, say so, and end when the last one has left


@dataclass
class Errand:
    """What a process of a station gets: its number among those of its station, and when it was launched.

    ``listening`` is the socket to listen on, ``ready`` the end of a pipe on which it speaks; None: nobody handed it.
    """

    number: int = 1
    launched: float = field(default_factory=time.time)
    listening: socket.socket | None = None
    ready: int | None = None


own = Errand()  # of this process


class Process:
    """A process that was forked from this one.

    ``multiprocessing`` leaves four descriptors open for each fork that the system refuses, and at its end waits for
    ever for a process that does not end.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    @property
    def exit_status(self) -> int | None:
        """Give its status, below zero for the signal that ended it, None while it lives."""
        if self._status is None:
            try:
                pid, waited = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # whoever started this process had it ignore SIGCHLD
                self._status = UNKNOWN
            else:
                self._status = os.waitstatus_to_exitcode(waited) if pid else None
        return self._status

    def send(self, told: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.exit_status is None:
            os.kill(self.pid, told)

    def join(self, within_s: float) -> None:
        """Wait until it has ended, so long at most."""
        deadline = time.monotonic() + within_s
        while self.exit_status is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)


def start(title: str, errand: Errand, run: Callable[[], int]) -> Process:
    """Fork the process of a station, which ends with the status that ``run`` gives, or with this process.

    Raises
    ------
    OSError
        The system has no process to give now.
    """
    parent = os.getpid()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)  # until it obeys, a signal to it would be heard by nobody
    try:
        pid = os.fork()
        if pid == 0:
            _be_station(parent, title, errand, run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return Process(pid)


def _be_station(parent: int, title: str, errand: Errand, run: Callable[[], int]) -> NoReturn:
    """Run a station, and end this process without what its supervisor would do at its own end."""
    status = UNKNOWN
    try:
        die_with(parent)
        setproctitle(title)
        vars(own).update(vars(errand))
        status = run()
        obey_no_more()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except BaseException:
        log.exception("station failed", extra={"station": title})
    finally:
        os._exit(status)


def tell_ready() -> None:
    """Tell the supervisor that this station works."""
    if own.ready is not None:
        os.write(own.ready, b"1")


def tell_left() -> None:
    """Tell the supervisor that this station takes nobody new; so does its death."""
    if own.ready is not None:
        os.close(own.ready)
        own.ready = None


def obey() -> threading.Event:
    """Hear what the supervisor says: give the event that says stop."""
    stop = threading.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        set_at(told, stop)
    set_at(LEAVE, leaving)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the supervisor
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
    return stop


def set_at(told: signal.Signals, event: threading.Event) -> None:
    """Set an event at a signal; by a thread of its own, as the main thread may just hold the event's lock."""
    signal.signal(told, lambda *_: threading.Thread(target=event.set, daemon=True).start())


def obey_no_more() -> None:
    """The end is here: told something once more, a process that has stopped in order would die of the signal."""
    for told in TOLD:
        signal.signal(told, signal.SIG_IGN)
