"""The port: it accepts, counts and lets go; everything else happens in the connection's own thread.

Connections are counted before a byte of them is read: so many of one host, so many in all (RELIABILITY D2). The
accepting thread never reads, writes or shakes hands, so no peer can hold up the next one (M4).
"""

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from vb_node.dimse.guard import TICK_S, Limits, Stop, prepare
from vb_node.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 128
DRAIN_S = 10.0

Serve = Callable[[socket.socket, str], None]


class Listener:
    """Listens until ``shutdown``; ``serve(connection, host)`` runs in a thread of its own for each connection."""

    def __init__(
        self, address: tuple[str, int], serve: Serve, limits: Limits, stop: Stop, *, shares_port: bool = False
    ) -> None:
        self._serve, self._limits, self._stop = serve, limits, stop
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._hosts: Counter[str] = Counter()
        self._is_closed = False
        self._socket = _bind(address, shares_port)
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of descriptors, or the peer is gone already
                log.warning("connection not accepted", extra={"why": error.strerror})
                time.sleep(TICK_S / 5)
                continue
            self._take(connection, str(peer[0]))
        self._socket.close()

    def _take(self, connection: socket.socket, host: str) -> None:
        with self._lock:
            is_too_many = len(self._open) >= self._limits.max_connections
            is_too_many |= self._hosts[host] >= self._limits.max_connections_per_host
            if not is_too_many:
                self._open[connection] = host
                self._hosts[host] += 1
        if is_too_many:
            log.warning("too many connections", extra={"host": host})
            connection.close()
            return
        try:
            threading.Thread(target=self._run, args=(connection, host), name=f"peer {host}", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            log.warning("no thread for a connection", extra={"host": host})
            self._forget(connection, host)

    def _run(self, connection: socket.socket, host: str) -> None:
        try:
            prepare(connection)
            self._serve(connection, host)
        except Exception:
            log.exception("connection failed", extra={"host": host})
        finally:
            self._forget(connection, host)

    def _forget(self, connection: socket.socket, host: str) -> None:
        with self._lock:
            del self._open[connection]
            self._hosts[host] -= 1
            self._hosts += Counter()  # drops the hosts that have none left
        connection.close()

    def shutdown(self, drain_s: float = DRAIN_S) -> None:
        """Stop: messages in hand are finished, for ``drain_s`` at most, and nobody new is taken meanwhile."""
        self._stop.is_set = True
        until = time.monotonic() + drain_s
        while self._open and time.monotonic() < until:
            time.sleep(TICK_S / 10)
        self._is_closed = True
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def _bind(address: tuple[str, int], shares_port: bool) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {address[0]}:{address[1]} ({error.strerror}): choose a free port and address"
        ) from error
    listening.settimeout(TICK_S)
    return listening
