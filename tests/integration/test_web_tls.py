"""The web station's TLS: who shakes no hands is told of in log and audit trail, and holds up nobody."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Authority
from processes import HOST, wait_until
from web_process import WebProcess

TLS = """
[web.tls]
certificate = "node.pem"
key = "node.key"
ca = "ca.pem"
"""
HANDSHAKE_S, MARGIN_S = 5.0, 10.0


@pytest.fixture(scope="module")
def web(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    home = tmp_path_factory.mktemp("web")
    shown = authority.issue("node")
    for file, name in ((shown.pem, "node.pem"), (shown.key, "node.key"), (authority.pem, "ca.pem")):
        (home / name).write_bytes(file.read_bytes())
    process = WebProcess(home, TLS, "https").start()
    yield process
    process.stop()


def _client(authority: Authority, name: str | None = "browser") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.pem))
    if name is not None:
        shown = authority.issue(name)
        context.load_cert_chain(shown.pem, shown.key)
    return context


def _asked(web: WebProcess, context: ssl.SSLContext) -> bytes:
    """Ask for /health; give what comes back."""
    with web.connect() as connection, context.wrap_socket(connection, server_hostname=HOST) as secured:
        secured.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return secured.recv(1000)


def _is_refused(web: WebProcess, context: ssl.SSLContext) -> bool:
    """Say whether nothing comes back; under TLS 1.3 a client learns it with the first byte it reads."""
    try:
        return _asked(web, context) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def _whys(web: WebProcess) -> list[str]:
    return [line.details["why"] for line in web.events(event="association rejected")]


def _old(authority: Authority) -> ssl.SSLContext:
    context = _client(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("kind", ["no certificate", "another authority's", "TLS 1.1"])
def test_who_shakes_no_hands_is_refused_and_told(
    web: WebProcess, authority: Authority, tmp_path: Path, kind: str
) -> None:
    told = len(_whys(web))
    context = {
        "no certificate": lambda: _client(authority, None),
        "another authority's": lambda: _with(Authority(tmp_path, "other"), authority),
        "TLS 1.1": lambda: _old(authority),
    }[kind]()

    assert _is_refused(web, context)
    wait_until(lambda: len(_whys(web)) > told, MARGIN_S, "the audit trail tells of it")
    assert _whys(web)[-1].startswith("TLS handshake failed: ")
    assert "TLS handshake failed" in web.log.read_text()


def _with(other: Authority, authority: Authority) -> ssl.SSLContext:
    context, shown = _client(authority, None), other.issue("stranger")
    context.load_cert_chain(shown.pem, shown.key)
    return context


@pytest.mark.parametrize("sent", [b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
def test_what_is_no_handshake_is_cut_off_and_told(web: WebProcess, authority: Authority, sent: bytes) -> None:
    told = len(_whys(web))
    with web.connect() as connection:
        connection.settimeout(HANDSHAKE_S + MARGIN_S)
        connection.sendall(sent)
        while connection.recv(1000):
            pass

    wait_until(lambda: len(_whys(web)) > told, MARGIN_S, "the audit trail tells of it")
    assert b"200" in _asked(web, _client(authority))


def test_many_who_never_finish_hold_up_nobody(web: WebProcess, authority: Authority) -> None:
    context = _client(authority)
    silent = [socket.create_connection((HOST, web.port), 10, (f"127.0.4.{number}", 0)) for number in range(1, 101)]
    began = time.monotonic()

    answer = _asked(web, context)
    took_s = time.monotonic() - began
    for connection in silent:
        connection.close()

    assert b"200" in answer
    assert took_s < HANDSHAKE_S


def test_who_shakes_no_hands_has_no_more_connections_than_a_host_may(web: WebProcess, authority: Authority) -> None:
    with ExitStack() as stack:
        for _ in range(25):
            stack.enter_context(web.connect("127.0.5.1"))
        wait_until(lambda: web.turned_away("127.0.5.1") >= 5, MARGIN_S, "those beyond twenty are closed")
        answer = _asked(web, _client(authority))

    assert web.turned_away("127.0.5.1") == 5
    assert b"200" in answer
