"""A proxy on loopback before a real peer: a slow link, or one that loses an answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from processes import HOST

PIECE = 1024
P_DATA_TF = 4


@dataclass
class Proxy:
    """Passes so many bytes a second, until it ``hurries``.

    With ``loses_answer`` it cuts the connection before the peer's first P-DATA.
    """

    port: int
    bytes_s: float | None
    loses_answer: bool
    hurries: threading.Event = field(default_factory=threading.Event)


@contextmanager
def proxy(to: int, *, bytes_s: float | None = None, loses_answer: bool = False) -> Iterator[Proxy]:
    """Listen before the peer at port ``to``."""
    listener = socket.create_server((HOST, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    told = Proxy(listener.getsockname()[1], bytes_s, loses_answer)
    threading.Thread(target=_serve, args=(listener, to, told), daemon=True).start()
    try:
        yield told
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # or who waits in accept would wait on
        listener.close()


def _serve(listener: socket.socket, to: int, told: Proxy) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection((HOST, to))
        for source, sink, loses in ((near, far, False), (far, near, told.loses_answer)):
            threading.Thread(target=_pass, args=(source, sink, told, loses), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, told: Proxy, loses_answer: bool) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            if loses_answer and piece[0] == P_DATA_TF:
                break
            sink.sendall(piece)
            if told.bytes_s:
                told.hurries.wait(len(piece) / told.bytes_s)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()  # the other thread closes the other one
