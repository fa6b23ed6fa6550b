"""The port: it accepts, counts and lets go; everything else happens in the connection's own thread.

Connections are counted before a byte of them is read: so many of one host, so many in all (RELIABILITY D2). The
accepting thread never reads, writes or shakes hands, so no peer can hold up the next one (M4). Where several processes
share the port, the one with the fewest connections is the quickest to take the next.
"""

import _thread
import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from errno import EADDRINUSE
from weakref import WeakSet, finalize

from vb_node.dimse.guard import TICK_S, Limits, Stop, prepare
from vb_node.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 128
DRAIN_S, STEP_S = 10.0, 0.05
GIVE_WAY_S, MOST_GIVEN = 0.001, 8  # for each connection of this process, and for so many at most

Serve = Callable[[socket.socket, str], None]


class Listener:
    """Listens until ``shutdown``; ``serve(connection, host)`` runs in a thread of its own for each connection."""

    def __init__(self, listening: socket.socket, serve: Serve, limits: Limits, stop: Stop) -> None:
        self._serve, self._limits, self._stop = serve, limits, stop
        self._lock = threading.Lock()
        self._open: WeakSet[socket.socket] = WeakSet()
        self._is_closed = self._is_flooded = False
        self._socket = listening
        self._socket.setblocking(False)
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def _accept(self) -> None:
        calls = select.poll()
        calls.register(self._socket, select.POLLIN)
        while not self._is_closed:
            try:
                if calls.poll(1000 * TICK_S):
                    self._give_way()
                    self._take(*self._socket.accept())
            except BlockingIOError:  # another process was quicker
                continue
            except (OSError, RuntimeError, MemoryError) as error:  # no descriptor, thread or memory; or the peer left
                time.sleep(TICK_S / 5)
                with contextlib.suppress(MemoryError):
                    log.warning("connection not accepted", extra={"why": str(error)})
        self._socket.close()

    def _give_way(self) -> None:
        """Let a process with fewer connections be quicker; a flood that is turned away need not wait."""
        if self._limits.is_shared and not self._is_flooded:
            time.sleep(GIVE_WAY_S * min(len(self._open), MOST_GIVEN))

    def _take(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        """Count a connection and start its thread; one that no thread holds is closed, and counted no longer."""
        host = str(peer[0])
        limits = self._limits
        wanted = {"connections": limits.max_connections, f"connections of {host}": limits.max_connections_per_host}
        held = limits.places.take(wanted)
        self._is_flooded = not held
        if not held:
            log.warning("too many connections", extra={"host": host})
            connection.close()
            return
        try:
            leave = finalize(connection, limits.places.give, held)
        except BaseException:
            limits.places.give(held)
            raise
        leave.atexit = False  # the kernel frees the places of a process that ends
        with self._lock:
            self._open.add(connection)
        # not Thread.start: it waits for the thread's first sign of life, for ever where that finds no memory
        _thread.start_new_thread(self._run, (connection, host, leave))

    def _run(self, connection: socket.socket, host: str, leave: Callable[[], object]) -> None:
        try:
            prepare(connection)
            self._serve(connection, host)
        except Exception:
            log.exception("connection failed", extra={"host": host})
        finally:
            with self._lock:
                self._open.discard(connection)
            leave()
            connection.close()

    def leave(self) -> None:
        """Take nobody new from now on."""
        self._is_closed = True
        self._thread.join()

    @property
    def is_deserted(self) -> bool:
        """Whether nobody is connected."""
        with self._lock:
            return not list(self._open)  # its length counts what is gone, too

    def shutdown(self, drain_s: float = DRAIN_S) -> None:
        """Stop: messages in hand are finished, for ``drain_s`` at most, and nobody new is taken meanwhile."""
        self._stop.is_set = True
        until = time.monotonic() + drain_s
        while not self.is_deserted and time.monotonic() < until:
            time.sleep(TICK_S / 10)
        self._is_closed = True
        with self._lock:
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def bind(address: tuple[str, int], within_s: float = 0.0) -> socket.socket:
    """Open a listening socket, which several processes may share; raise ``ConfigError``.

    Whoever listens there now may be a process that is just ending: it is given ``within_s``.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return _bind(address)
        except OSError as error:
            if error.errno != EADDRINUSE or time.monotonic() >= deadline:
                raise ConfigError(
                    f"cannot listen on {address[0]}:{address[1]} ({error.strerror}): choose a free port and address"
                ) from error
            time.sleep(STEP_S)


def _bind(address: tuple[str, int]) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
