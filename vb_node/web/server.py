"""uvicorn in a thread of its own: guarded connections, TLS, an orderly end."""

import asyncio
import socket
import ssl
import threading

import uvicorn
from starlette.types import ASGIApp

from vb_node.dimse.guard import Limits
from vb_node.web.entrance import Entrance, Tell
from vb_node.web.guard import Guard

DRAIN_S = 10
LONGEST_HEAD = 1 << 16


class Server:
    """Serves an application until ``shutdown``; if it ever ends by itself, ``stop`` ends its station too.

    ``tell(host, why)`` hears of each TLS handshake that failed.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        limits: Limits,
        stop: threading.Event,
        tls: ssl.SSLContext | None,
        tell: Tell,
    ) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=round(limits.idle_s),
            timeout_graceful_shutdown=DRAIN_S,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        self._socket = listening
        self._server = _Uvicorn(config, limits, tell)
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.run([self._socket])
        finally:
            self._stop.set()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def leave(self) -> None:
        """Take nobody new, and finish the requests in hand, for ``DRAIN_S`` at most."""
        self._server.should_exit = True
        self._thread.join()

    @property
    def is_deserted(self) -> bool:
        """Whether no request is in hand."""
        return not self._thread.is_alive()

    def shutdown(self) -> None:
        """Finish the requests in hand, for ``DRAIN_S`` at most, and stop."""
        self.leave()


class _Uvicorn(uvicorn.Server):
    """Listens as uvicorn does, but guards each connection and gives a TLS handshake no minute."""

    def __init__(self, config: uvicorn.Config, limits: Limits, tell: Tell) -> None:
        super().__init__(config)
        self._limits, self._tell = limits, tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def connection() -> asyncio.Protocol:
            return Guard(self.config, self.server_state, {}, limits=self._limits)

        entrances = [Entrance(one, connection, self._limits, self.config.ssl, self._tell) for one in sockets or ()]
        self.servers = entrances  # type: ignore[assignment]  # what uvicorn asks of a server, an entrance can
        self.started = True
