"""Peers on loopback that behave badly at a chosen moment: a proxy before a real one that freezes, slows or cuts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from processes import HOST

PIECE = 1024


@dataclass
class Proxy:
    """Passes bytes on: ``forward`` and ``back`` at most so many, then it is as if frozen; or so many a second."""

    port: int
    forward: int | None = None
    back: int | None = None
    bytes_s: float | None = None
    cuts: bool = False


@contextmanager
def proxy(
    to: int, *, forward: int | None = None, back: int | None = None, bytes_s: float | None = None, cuts: bool = False
) -> Iterator[Proxy]:
    """Listen before the peer at port ``to``; with ``cuts`` the connection is reset where it would freeze."""
    listener = socket.create_server((HOST, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    told = Proxy(listener.getsockname()[1], forward, back, bytes_s, cuts)
    threading.Thread(target=_serve, args=(listener, to, told), daemon=True).start()
    try:
        yield told
    finally:
        listener.close()


def _serve(listener: socket.socket, to: int, told: Proxy) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection((HOST, to))
        for source, sink, most in ((near, far, told.forward), (far, near, told.back)):
            threading.Thread(target=_pass, args=(source, sink, most, told), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, most: int | None, told: Proxy) -> None:
    passed = 0
    try:
        while most is None or passed < most:
            piece = source.recv(PIECE if most is None else min(PIECE, most - passed))
            if not piece:
                break
            with suppress(OSError):
                sink.sendall(piece)
            passed += len(piece)
            if told.bytes_s:
                time.sleep(len(piece) / told.bytes_s)
        else:
            if not told.cuts:
                return  # frozen: both stay open, nothing moves
    finally:
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
