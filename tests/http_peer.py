"""A small real HTTP server that answers every request with the bytes that a test gives it."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from processes import HOST


@dataclass
class Peer:
    """What it answers next, and what came: method, path, headers, body."""

    port: int
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    says_length: int | None = None
    repeats: int = 1
    came: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/dicom-web"


@contextmanager
def http_peer(certificate: Path | None = None, key: Path | None = None, clients: Path | None = None) -> Iterator[Peer]:
    """Serve on loopback, over TLS where a certificate is given; ``clients`` signs those of who may come."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            peer.came.append((self.command, self.path, dict(self.headers), body))
            self.send_response(peer.status)
            length = len(peer.body) * peer.repeats if peer.says_length is None else peer.says_length
            told = {"Content-Length": str(length), "Connection": "close", **peer.headers}
            for name, value in told.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(peer.repeats):
                    self.wfile.write(peer.body)
            except OSError:
                return

        do_GET = do_POST = _answer  # noqa: N815  the library's names

        def log_message(self, *_words: object) -> None:
            return

    server = ThreadingHTTPServer((HOST, 0), Handler)
    peer = Peer(server.server_address[1])
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def dribbling() -> Iterator[int]:
    """Answer with one byte of a header line each 0.2 s, without end."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while True:
                time.sleep(0.2)
                connection.sendall(b"a")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
