"""What the process of a station gets from its supervisor, and what the two tell each other.

The supervisor holds the listening sockets: a station that is started again loses no connection that waits in them.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

from vb_node.runtime.fate import SUPERVISOR

NUMBER, LAUNCHED, LISTENING, READY = "VBNODE_NUMBER", "VBNODE_LAUNCHED", "VBNODE_LISTENING", "VBNODE_READY"
LEAVE = signal.SIGUSR1

leaving = threading.Event()  # set: take nobody new, say so, and end when the last one has left


def number() -> int:
    """Give the number of this process among those of its station."""
    return int(os.environ.get(NUMBER, "1"))


def launched() -> float:
    """Give when the supervisor started this process."""
    return float(os.environ.get(LAUNCHED, time.time()))


def listening() -> socket.socket | None:
    """Give the socket to listen on; None: nobody handed one over."""
    handed = os.environ.get(LISTENING)
    return None if handed is None else socket.socket(fileno=int(handed))


def tell_ready() -> None:
    """Tell the supervisor that this station works."""
    if READY in os.environ:
        os.write(int(os.environ[READY]), b"1")


def tell_left() -> None:
    """Tell the supervisor that this station takes nobody new; so does its death."""
    if (pipe := os.environ.pop(READY, None)) is not None:
        os.close(int(pipe))


def obey() -> threading.Event:
    """Hear what the supervisor says: give the event that says stop."""
    stop = threading.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        set_at(told, stop)
    set_at(LEAVE, leaving)
    return stop


def set_at(told: signal.Signals, event: threading.Event) -> None:
    """Set an event at a signal; by a thread of its own, as the main thread may just hold the event's lock."""
    signal.signal(told, lambda *_: threading.Thread(target=event.set, daemon=True).start())


def obey_no_more() -> None:
    """The end is here: told something once more, a process that has stopped in order would die of the signal."""
    for told in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, LEAVE):
        signal.signal(told, signal.SIG_IGN)


def start(command: Sequence[str], number: int, handed: socket.socket | None, ready: int) -> subprocess.Popen[bytes]:
    """Start the process of a station with what it gets; ``ready`` is the end of a pipe that it writes to."""
    words = {SUPERVISOR: str(os.getpid()), NUMBER: str(number), LAUNCHED: repr(time.time()), READY: str(ready)}
    descriptors = [ready]
    if handed is not None:
        words[LISTENING] = str(handed.fileno())
        descriptors.append(handed.fileno())
    return subprocess.Popen(command, env=os.environ | words, pass_fds=descriptors)  # noqa: S603  our own program
