"""One exchange with a DICOMweb or other service: bounded in time and size, never led to another host.

httpx2 is the client: typed, timeouts for each phase, answers as streams, and no redirect unless asked; it comes with
transformers anyway. Its read timeout starts anew with every byte, so a timer cuts the connection of an exchange that
lasts too long.
"""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from vb_node.errors import ConfigError, NoAnswer, Unreachable

MOST_BYTES = 10 << 20
JSON = "application/dicom+json"
_OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


@dataclass(frozen=True)
class Service:
    """A DICOMweb service at ``url``; ``authorization_file`` holds the value of that header, and is read each time."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization_file: Path | None = None
    tls: ssl.SSLContext = field(default_factory=httpx2.create_ssl_context)
    connect_s: float = 10.0
    answer_s: float = 25.0

    def __str__(self) -> str:
        return httpx2.URL(self.url).host


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip() or "nothing"


def exchange(
    service: Service,
    method: str,
    path: str,
    *,
    longest_s: float,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    content: Iterator[bytes] | None = None,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """Send one request and read its answer.

    Raises
    ------
    Unreachable
        No connection, or a certificate that is not trusted.
    NoAnswer
        The exchange broke, was silent or took too long, or the answer is larger than ``most_bytes``.
    """
    asked = {"Accept": JSON, **service.headers, **_authorization(service), **(headers or {})}
    try:
        with _client(service) as client, _timer(longest_s) as trace:
            url, extensions = service.url.rstrip("/") + path, {"trace": trace}
            with client.stream(
                method, url, headers=asked, params=params, content=content, extensions=extensions
            ) as answer:
                return Answer(answer.status_code, answer.headers, _read(answer, service, most_bytes))
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise Unreachable(f"{service} cannot be reached ({error}): check url, certificate and network") from error
    except httpx2.HTTPError as error:
        raise NoAnswer(f"{service} did not answer to the end ({type(error).__name__})") from error


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the system's authorities, and those of a PEM file; raise ``ConfigError``."""
    context = httpx2.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file {ca_file} cannot be read: give a PEM file of certificates") from error
    return context


def _client(service: Service) -> httpx2.Client:
    timeout = httpx2.Timeout(service.answer_s, connect=service.connect_s)
    return httpx2.Client(verify=service.tls, timeout=timeout, trust_env=False, follow_redirects=False)


def _authorization(service: Service) -> dict[str, str]:
    if service.authorization_file is None:
        return {}
    try:
        return {"Authorization": service.authorization_file.read_text("utf-8").strip()}
    except OSError as error:
        raise Unreachable(
            f"authorization_file {service.authorization_file} cannot be read: {error.strerror}"
        ) from error


def _read(answer: httpx2.Response, service: Service, most_bytes: int) -> bytes:
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > most_bytes:
            raise NoAnswer(f"{service} answered with more than {most_bytes >> 20} MB: check its url")
    return bytes(body)


@contextmanager
def _timer(longest_s: float) -> Iterator[Any]:
    """Cut the connection after ``longest_s``; gives the trace that finds it."""
    opened: list[socket.socket] = []

    def trace(name: str, info: Mapping[str, Any]) -> None:
        if name in _OPENED:
            opened.append(info["return_value"].get_extra_info("socket"))

    def cut() -> None:
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(longest_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield trace
    finally:
        timer.cancel()
