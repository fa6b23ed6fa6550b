"""Where connections come in: each shakes hands by itself, and who cannot is told of, as at the DICOM listener.

asyncio's own server says nothing of a handshake that failed.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from vb_node.dimse.guard import TICK_S, Limits

log = logging.getLogger(__name__)

Tell = Callable[[str, str], None]


class Entrance:
    """Accepts until it is closed; ``tell(host, why)`` hears of each handshake that failed.

    uvicorn closes it as it closes a server of asyncio.
    """

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        limits: Limits,
        tls: ssl.SSLContext | None,
        tell: Tell,
    ) -> None:
        self._connection, self._limits, self._tls, self._tell = connection, limits, tls, tell
        self._hand = CapacityLimiter(1)
        self._coming: dict[asyncio.Task[None], str] = {}  # by host
        listening.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listening))

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0)  # accepting never waits while there are more: who came first is answered meanwhile
            try:
                connection, address = await loop.sock_accept(listening)
            except (OSError, MemoryError) as error:  # no descriptor; or the peer left
                log.warning("connection not accepted", extra={"why": str(error)})
                await asyncio.sleep(TICK_S)
                continue
            host, hosts = address[0], list(self._coming.values())
            most, most_a_host = self._limits.max_connections, self._limits.max_connections_per_host
            if len(hosts) >= most or hosts.count(host) >= most_a_host:
                log.warning("too many connections", extra={"host": host})
                connection.close()
                continue
            coming = loop.create_task(self._let_in(connection, host))
            self._coming[coming] = host
            coming.add_done_callback(self._coming.pop)

    async def _let_in(self, connection: socket.socket, host: str) -> None:
        wait_s = None if self._tls is None else self._limits.handshake_s
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, connection, ssl=self._tls, ssl_handshake_timeout=wait_s
            )
        except OSError as error:
            why = getattr(error, "reason", None) or type(error).__name__
            log.warning("TLS handshake failed", extra={"host": host, "why": why})
            await run_sync(self._tell, host, f"TLS handshake failed: {why}", limiter=self._hand)

    def close(self) -> None:
        for task in (self._accepting, *self._coming):
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._accepting, *self._coming, return_exceptions=True)
