"""An HTTP connection that nobody can hold: what D1 and D2 of the listener are to associations (RELIABILITY W-08).

uvicorn bounds the headers and waits for a first request, a body and a reader without end; here each of them has its
time. Patience and pace are those of [receive].
"""

import hashlib
import logging
from asyncio import Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vb_node.dimse.guard import Limits, prepare

log = logging.getLogger(__name__)

TICK_S = 0.5
LINGER_S = 2.0
REQUEST, BODY, END, ANSWER = "a request", "a body", "the end of a body that is answered", "to take the answer"


class Guard(H11Protocol):
    """One connection, looked at every ``TICK_S``; requests tell its peer's ``certificate`` as SHA-256."""

    def __init__(self, *words: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*words, **named)
        self._limits = limits
        self._patience_s = {REQUEST: limits.stall_s, BODY: limits.stall_s, END: LINGER_S, ANSWER: limits.stall_s}
        self._came = self._window_came = 0
        self._answered_at = 0.0
        self._debt: tuple[str, int] | None = None
        self._since = self._window_at = self.loop.time()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._looking = self.loop.call_later(TICK_S, self._look)
        if not self._finds_room():
            self._cut("too many connections")
            return
        prepare(transport.get_extra_info("socket"))
        secured = transport.get_extra_info("ssl_object")
        shown = secured.getpeercert(binary_form=True) if secured is not None else None
        self.app_state = self.app_state | {"certificate": hashlib.sha256(shown).hexdigest() if shown else None}

    def _finds_room(self) -> bool:
        """Say whether one more may be open; where it is full, one that only waits for a next request makes way."""
        others = [one for one in self.connections if isinstance(one, Guard) and one is not self and one.is_open]
        here = [one for one in others if one._host == self._host]
        is_full = len(others) >= self._limits.max_connections
        crowd = here if len(here) >= self._limits.max_connections_per_host else others if is_full else []
        idle = min((one for one in crowd if one.is_idle), key=lambda one: one._answered_at, default=None)
        if idle is not None:
            idle.shutdown()
        return not crowd or idle is not None

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """Whether it has its answer, and has begun nothing new."""
        return self._answered_at > 0.0 and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def on_response_complete(self) -> None:
        self._answered_at = self.loop.time()
        super().on_response_complete()

    @property
    def _host(self) -> str:
        return self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        now, debt = self.loop.time(), self._owed()
        if debt != self._debt:
            if self._debt is None or self._debt[0] != BODY:
                self._window_at, self._window_came = now, self._came
            self._debt, self._since = debt, now
        if debt is not None and now - self._since > self._patience_s[debt[0]]:
            self._cut(f"{debt[0]} expected, waited {self._patience_s[debt[0]]:g} s")
        elif debt is not None and debt[0] == BODY and self._is_too_slow(now):
            self._cut(f"a body of {self._limits.least_rate:g} bytes a second at least expected")
        else:
            self._looking = self.loop.call_later(TICK_S, self._look)

    def _owed(self) -> tuple[str, int] | None:
        """Say what the peer owes and how far it is with it; None if nothing: idle time is counted by uvicorn."""
        unread = self.transport.get_write_buffer_size()
        if unread or self.transport.is_closing():
            return ANSWER, unread
        if self.conn.their_state is h11.IDLE and not self.is_idle:
            return REQUEST, 0
        if self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused:
            return (END, 0) if self.cycle.response_complete else (BODY, self._came)
        return None

    def _is_too_slow(self, now: float) -> bool:
        """Say whether less came than must, looking once in a window."""
        if now - self._window_at < self._limits.rate_window_s:
            return False
        came = self._came - self._window_came
        self._window_at, self._window_came = now, self._came
        return came < self._limits.least_rate * self._limits.rate_window_s

    def _cut(self, why: str) -> None:
        log.warning("HTTP connection cut", extra={"host": self._host, "why": why})
        self.transport.abort()
