"""The watchdog of an association that we began: who goes silent, or takes too long, is cut off.

pynetdicom clears the socket's timeout after connecting, so a peer that freezes in mid-message holds the sender for
ever (M6); and it counts its own timeout from when a message is queued, so a slow link that still moves is given up.
Here two things count: bytes that move, and the time that the whole may take.
"""

import fcntl
import logging
import socket
import struct
import termios
import threading
import time
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association

log = logging.getLogger(__name__)

LOOK_S = 0.2


class Watchdog:
    """Cuts one connection after ``silent_s`` without a byte on its way, at the latest after ``longest_s``."""

    def __init__(self, silent_s: float, longest_s: float) -> None:
        self.silent_s = silent_s
        self.longest_s = longest_s
        self._messages = 0
        self._is_over = threading.Event()

    @property
    def handlers(self) -> list[Any]:
        """Give what an association must tell of."""
        return [(evt.EVT_CONN_OPEN, self._start), (evt.EVT_DATA_SENT, self._count), (evt.EVT_DATA_RECV, self._count)]

    def stop(self) -> None:
        self._is_over.set()

    def _count(self, _event: evt.Event) -> None:
        self._messages += 1

    def _start(self, event: evt.Event) -> None:
        connection: Any = event.assoc.dul.socket and event.assoc.dul.socket.socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._run, args=(connection, event.assoc), daemon=True).start()

    def _run(self, connection: socket.socket, association: Association) -> None:
        self._watch(connection)
        association.dimse.msg_queue.put((None, None))  # no answer comes any more: pynetdicom may have failed to say so

    def _watch(self, connection: socket.socket) -> None:
        """Return when the connection is no more."""
        begun = moved_at = time.monotonic()
        seen: tuple[int, int] | None = None
        while not self._is_over.wait(LOOK_S):
            try:
                mark = self._messages, _unacknowledged(connection)
            except (OSError, ValueError):
                return  # closed
            now = time.monotonic()
            if mark != seen:
                seen, moved_at = mark, now
            if now - moved_at > self.silent_s or now - begun > self.longest_s:
                words = {"silent_s": round(now - moved_at), "open_s": round(now - begun)}
                log.warning("peer cut off", extra={"address": connection.getpeername()} | words)
                _cut(connection)
                return


def _unacknowledged(connection: socket.socket) -> int:
    """Count the bytes that the peer's system has not taken yet: they dwindle on a slow link (tcp(7), SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    count: int = struct.unpack("i", answer)[0]
    return count


def _cut(connection: socket.socket) -> None:
    """Wake whoever blocks in ``send`` or ``recv``."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
