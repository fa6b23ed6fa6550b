"""``vb-node serve --only web`` as a process of its own, and what peers say to it."""

import socket
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

import httpx2
from listener_process import ALIVE_S, ListenerProcess, instance
from processes import HOST, wait_until
from pydicom import Dataset, dcmwrite

TOKEN = "0123456789abcdef"
STALL_S, MOST_PARTS = 2, 300

TOML = f"""\
[receive]
stall_s = {STALL_S}
idle_s = 4
max_instance_mb = 8

[web]
port = {{port}}
max_body_mb = 24
max_parts = {MOST_PARTS}
{{more}}
[[web.peers]]
ae_title = "ROUTER"
hosts = ["127.0.0.1"]
token_file = "token"

[retention]
stop_at = 1
stop_free_gb = 0
"""


def part(content: Dataset | bytes, media_type: str = "application/dicom", boundary: str = "b") -> bytes:
    """Make one part of a body: an instance as a file, or any bytes."""
    if isinstance(content, Dataset):
        buffer = BytesIO()
        dcmwrite(buffer, content, enforce_file_format=True)
        content = buffer.getvalue()
    return f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode() + content + b"\r\n"


def body(contents: Iterable[Dataset | bytes]) -> bytes:
    return b"".join(map(part, contents)) + b"--b--\r\n"


HEADERS = {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
    "Authorization": f"Bearer {TOKEN}",
}


class WebProcess(ListenerProcess):
    """A web station that runs alone, on a ledger and a spool of its own."""

    STATION = "web"

    def __init__(self, home: Path, more: str = "", scheme: str = "http") -> None:
        super().__init__(home)
        (home / "token").write_text(f"{TOKEN}\n")
        self.config.write_text(TOML.format(port=self.port, more=more))
        self.url = f"{scheme}://{HOST}:{self.port}"

    def post(
        self, contents: Iterable[Dataset | bytes], headers: Mapping[str, str] | None = None, study: str = ""
    ) -> httpx2.Response:
        """Store instances; ``headers`` beside the usual ones."""
        path = f"/dicom-web/studies/{study}".rstrip("/")
        return httpx2.post(self.url + path, content=body(contents), headers=HEADERS | dict(headers or {}), timeout=30)

    def serves_a_good_peer(self) -> bool:
        return self.post([instance()]).status_code == 200

    def warm_up(self) -> None:
        """Let the process take what it keeps: buffers, threads, connections to the ledger."""
        for _ in range(3):
            self.post([instance() for _ in range(4)])
            httpx2.get(f"{self.url}/ready")
        wait_until(lambda: self.vitals().threads >= 4, ALIVE_S, "the threads of the station are there")

    def connect(self, host: str = HOST) -> socket.socket:
        """Open a connection from one of this machine's own addresses."""
        return socket.create_connection((HOST, self.port), 10, (host, 0))


def said(answer: httpx2.Response) -> Dataset:
    """Read a Store Instances Response Module."""
    return Dataset.from_json(answer.json())


def head(length: int | None = None, **headers: str) -> bytes:
    """Write the head of a Store request, chunked where no length is given."""
    told = HEADERS | {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    told |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    lines = [f"{name}: {value}\r\n" for name, value in told.items()]
    return f"POST /dicom-web/studies HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def ended(connection: socket.socket, within_s: float) -> bytes:
    """Read until the other side ends the connection; fail if it does not."""
    connection.settimeout(within_s)
    came = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            came += piece
    except ConnectionResetError:
        pass
    return bytes(came)
