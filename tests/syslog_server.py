"""A small real audit repository: syslog over TLS (RFC 5425), frame by frame."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

from certificates import Authority, Certificate
from processes import HOST

BOM = b"\xef\xbb\xbf"


@dataclass
class SyslogServer:
    """What came, in order, and how many connections were none; ``breaks_after`` so many messages it resets one."""

    port: int
    came: list[bytes] = field(default_factory=list)
    refused: int = 0
    breaks_after: int | None = None
    is_mute: bool = False

    def xml(self) -> list[Element]:
        """Read each message; raise where one is no XML."""
        return [fromstring(one.split(b" - ", 1)[1].removeprefix(BOM).decode()) for one in self.came]

    def serve(self, connection: ssl.SSLSocket) -> None:
        """Read frames until the sender closes TLS, and close it too."""
        taken = 0
        with connection:
            stream = connection.makefile("rb")
            while length := _length(stream):
                frame = stream.read(length)
                assert len(frame) == length, "a frame shorter than it says"
                self.came.append(frame)
                taken += 1
                if taken == self.breaks_after:
                    _reset(socket.socket(fileno=connection.detach()))
                    return
            if not self.is_mute:
                connection.unwrap()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _length(stream: object) -> int:
    digits = b""
    while (octet := stream.read(1)) not in (b" ", b""):  # type: ignore[attr-defined]
        digits += octet
    assert digits.isdigit() or not digits, digits
    return int(digits or 0)


@contextmanager
def syslog_server(certificate: Certificate, authority: Authority, port: int = 0) -> Iterator[SyslogServer]:
    """Serve on loopback, to peers with a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem, certificate.key)
    context.load_verify_locations(authority.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server((HOST, port))
    server = SyslogServer(listener.getsockname()[1])
    is_over = threading.Event()

    def accept() -> None:
        while not is_over.is_set():
            try:
                plain, _ = listener.accept()
                server.serve(context.wrap_socket(plain, server_side=True))
            except OSError:
                server.refused += 1
                time.sleep(0.01)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
