"""A connection that nobody can hold, flood or starve: every byte that a peer sends is read through here.

A silent, slow or lying peer costs its own connection and nothing else (RELIABILITY M1, M2, M3, M5, M10): the whole
A-ASSOCIATE-RQ comes within ``stall_s``; within a message silence lasts no longer, and over three times as long the
pace is ``least_rate`` at least; between messages ``idle_s`` pass; no PDU is longer than was allowed.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

from vb_node.dimse.places import Places

TICK_S = 0.5  # how often a waiting connection looks at the clock
LINGER_S = 0.5  # how long an A-ABORT may take to reach the peer before the connection is gone
LINGER_BYTES = 1 << 20
KEEPALIVE_S, USER_TIMEOUT_MS = 30, 20_000
FIRST_BUFFER, LARGEST_BUFFER = 1 << 13, 1 << 18
HEADER = Struct(">BxL")
TIMEVAL = Struct("@ll")
A_TICK = (TimeoutError, BlockingIOError)  # Python's way to say that it waited in vain, and the kernel's
HEADER_LENGTH = 6

A_ABORT = 0x07
PDU_TYPES = range(0x01, 0x08)
UNSPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6  # PS3.8 table 9-26


@dataclass(frozen=True)
class Limits:
    """What the listener takes at most: associations, bytes, connections, patience, and while the disk is not full.

    Associations and connections are counted by ``places``; all else is of one process. ``is_shared``: other processes
    take connections from the same port. In ``folder`` is what is large, while it comes; without one it is in memory.
    """

    max_associations: int = 64
    max_pdu: int = 131072
    max_connections: int = 256
    max_connections_per_host: int = 20
    max_instance_bytes: int = 512 << 20
    first_pdu: int = 1 << 20
    stall_s: float = 10.0
    idle_s: float = 60.0
    least_rate: float = 1024.0
    handshake_s: float = 5.0
    is_full: Callable[[], bool] = lambda: False
    places: Places = field(default_factory=Places)
    is_shared: bool = False
    folder: Path | None = None

    @property
    def rate_window_s(self) -> float:
        return 3 * self.stall_s


class Broken(Exception):
    """The connection ends here; with a ``reason`` the peer is told by A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, why: str, reason: int | None = None) -> None:
        super().__init__(why)
        self.reason = reason


class Stop:
    """Whether the listener is stopping: a connection that waits between two messages then ends."""

    is_set = False


class Wire:
    """One accepted connection, read PDU by PDU into one buffer."""

    def __init__(self, connection: socket.socket, limits: Limits, stop: Stop) -> None:
        _wait_a_tick_at_most(connection)
        self.connection = connection
        self._limits, self._stop = limits, stop
        self._buffer = bytearray(FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._open_until: float | None = time.monotonic() + limits.stall_s
        self._heard_at = self._window_at = time.monotonic()
        self._window_bytes = 0

    def opened(self) -> None:
        """Say that the association is established: from now on the pace of its messages counts."""
        self._open_until = None

    def pdu(self, longest: int, *, is_in_message: bool = False) -> tuple[int, memoryview]:
        """Give type and content of the next PDU; the content is valid until the next call (PS3.8 9.3.1).

        Raises
        ------
        Broken
            The peer is gone, silent, too slow, or announces what cannot be.
        """
        if not is_in_message:
            self._window_at, self._window_bytes = time.monotonic(), 0
        self._fill(HEADER_LENGTH, is_in_message)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        if kind not in PDU_TYPES:
            raise Broken(f"no PDU has type {kind:02X}", UNRECOGNISED_PDU)
        if length > longest:
            raise Broken(f"a PDU of {longest} bytes at most expected, {length} announced", INVALID_PARAMETER)
        self._fill(HEADER_LENGTH + length, is_in_message=True)
        start = self._start + HEADER_LENGTH
        self._start = start + length
        return kind, self._view[start : self._start]

    def _fill(self, needed: int, is_in_message: bool) -> None:
        if self._end - self._start >= needed:
            return
        self._heard_at = time.monotonic()
        if self._start + needed > len(self._buffer):
            self._make_room(needed)
        while self._end - self._start < needed:
            try:
                self._take(self.connection.recv_into(self._view[self._end :]))
            except A_TICK:
                pass  # time to look at the clock
            except OSError as error:
                raise Broken(f"the connection broke ({error.strerror})") from error
            self._watch(is_in_message or self._end > self._start)

    def _take(self, received: int) -> None:
        if received == 0:
            raise Broken("the peer closed the connection")
        self._end += received
        self._window_bytes += received
        self._heard_at = time.monotonic()
        _acknowledge(self.connection)

    def _make_room(self, needed: int) -> None:
        """Move what is left to the front, into a larger buffer while that helps: few calls a message."""
        rest = self._buffer[self._start : self._end]
        size = max(needed, min(2 * len(self._buffer), LARGEST_BUFFER) if self._open_until is None else 0)
        if size > len(self._buffer):
            self._buffer = bytearray(size)
            self._view = memoryview(self._buffer)
        self._buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _watch(self, is_busy: bool) -> None:
        """Raise ``Broken`` when patience is over."""
        now = time.monotonic()
        if self._open_until is not None and now > self._open_until:
            raise Broken(f"no A-ASSOCIATE-RQ came within {self._limits.stall_s:g} s")
        if not is_busy:
            self._wait_idle(now)
        elif now - self._heard_at > self._limits.stall_s:
            raise Broken(f"nothing came for {self._limits.stall_s:g} s within a message", UNSPECIFIED)
        elif now - self._window_at > self._limits.rate_window_s:
            if self._window_bytes < self._limits.least_rate * self._limits.rate_window_s:
                raise Broken(f"slower than {self._limits.least_rate:g} bytes a second", UNSPECIFIED)
            self._window_at, self._window_bytes = now, 0

    def _wait_idle(self, now: float) -> None:
        self._window_at, self._window_bytes = now, 0
        if self._stop.is_set:
            raise Broken("the listener stops", UNSPECIFIED)
        if now - self._heard_at > self._limits.idle_s:
            raise Broken(f"nothing came for {self._limits.idle_s:g} s", UNSPECIFIED)

    def send(self, *pieces: bytes) -> None:
        """Send, and be done within the stall time; raise ``Broken``."""
        left = memoryview(b"".join(pieces))
        until = time.monotonic() + self._limits.stall_s
        while left:
            try:
                left = left[self.connection.send(left) :]
            except A_TICK:
                if time.monotonic() > until:
                    raise Broken(f"the peer took nothing for {self._limits.stall_s:g} s") from None
            except OSError as error:
                raise Broken(f"the connection broke ({error.strerror})") from error

    def abort(self, reason: int) -> None:
        """Send an A-ABORT of the service provider, and give it a moment to arrive (PS3.8 9.3.8)."""
        self.part(HEADER.pack(A_ABORT, 4) + bytes((0, 0, 2, reason)))

    def part(self, last: bytes) -> None:
        """Send the last PDU and wait a moment for the peer to close, as PS3.8 9.2 has it (Sta13).

        Bytes left unread would reset the connection.
        """
        until = time.monotonic() + LINGER_S
        with contextlib.suppress(Broken, OSError):
            self.send(last)
            left = LINGER_BYTES
            while left > 0 and time.monotonic() < until and (received := self.connection.recv(FIRST_BUFFER)):
                left -= len(received)


def prepare(connection: socket.socket) -> None:
    """Let the kernel find a peer that vanished, and send every answer at once (Nagle's algorithm off)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S // 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_a_tick_at_most(connection: socket.socket) -> None:
    """Have the kernel end a wait after a tick (socket(7)): Python's own way asks it twice for each piece.

    Each call hands Python's lock to another thread and waits for it again, which is what many associations cost most.
    """
    if isinstance(connection, ssl.SSLSocket):  # it takes such an end for its own business
        connection.settimeout(TICK_S)
        return
    connection.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, TIMEVAL.pack(0, int(1e6 * TICK_S)))


def _acknowledge(connection: socket.socket) -> None:
    """Acknowledge now: a sender with Nagle's algorithm on waits 40 ms an instance for it (tcp(7) TCP_QUICKACK)."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
