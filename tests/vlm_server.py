"""A small real service that answers OpenAI's chat completions: it decodes the picture and has a model look at it."""

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
from PIL import Image
from processes import HOST
from sighted import Sighted


@dataclass
class VlmServer:
    """Where it is, what it is told to answer first (statuses), and every request that came, whole."""

    port: int
    model: Sighted = field(default_factory=Sighted)
    first: list[int] = field(default_factory=list)
    key: str | None = None
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.came.append((path, headers, body))
        if self.first:
            return self.first.pop(), b"{}"
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return 401, b"{}"
        if path != "/v1/chat/completions":
            return 404, b"{}"
        url = json.loads(body)["messages"][1]["content"][0]["image_url"]["url"]
        picture = np.asarray(Image.open(BytesIO(b64decode(url.removeprefix("data:image/png;base64,")))))
        message = {"role": "assistant", "content": self.model.answer(picture)}
        return 200, json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


@contextmanager
def vlm_server() -> Iterator[VlmServer]:
    """Serve on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802  the library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = peer.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: object) -> None:
            return

    server = ThreadingHTTPServer((HOST, 0), Handler)
    peer = VlmServer(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
