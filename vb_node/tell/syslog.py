"""Audit messages to a syslog repository over TLS (PS3.15 A.6: RFC 5424 messages in RFC 5425 frames)."""

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from vb_node.dimse.tls import ClientTls
from vb_node.errors import NoAnswer, Unreachable
from vb_node.tell.audit_message import AuditMessage, encode

FACILITY, NOTICE, WARNING = 10, 5, 4
MESSAGE_ID = "DICOM+RFC3881"
BOM = b"\xef\xbb\xbf"
PATIENCE_S, READ_BYTES = 10.0, 65536
_NO_NAME = re.compile(r"[^\x21-\x7e]")


def frame(message: AuditMessage, host: str) -> bytes:
    """Write a message with its header, after the number of its octets (RFC 5425 4.3)."""
    priority = 8 * FACILITY + (WARNING if message.outcome else NOTICE)
    moment = datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = _NO_NAME.sub("", host)[:255] or "-"
    header = f"<{priority}>1 {moment} {name} vb-node {os.getpid()} {MESSAGE_ID} - "
    record = header.encode("ascii") + BOM + encode(message)
    return f"{len(record)} ".encode("ascii") + record


@dataclass(frozen=True)
class Repository:
    """An audit repository; one connection a delivery. Without ``closes`` the end of the connection is its receipt."""

    host: str
    port: int
    tls: ClientTls
    closes: bool = True

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames, and return when the repository has read them all.

        Syslog has no answer. But a receiver must answer our close of TLS with its own (RFC 5425 4.4), and it reads
        ours after all that came before. An end of the connection without it is what one who cuts it looks like, and
        is believed only without ``closes``; a reset or an alert never is.

        Raises
        ------
        Unreachable
            No connection, or the repository is not who it must be; nothing was sent.
        NoAnswer
            The connection broke: it may have some of them.
        """
        with self._connect() as plain:
            self._hand_over(self._secure(plain), frames)

    def probe(self) -> None:
        """Shake hands and part in order, so that a refusal of our certificate is heard of; raise as ``send``."""
        self.send(())

    def _connect(self) -> socket.socket:
        try:
            return socket.create_connection((self.host, self.port), PATIENCE_S)
        except OSError as error:
            raise Unreachable(f"{self} cannot be reached ({error}): check host and network") from error

    def _secure(self, plain: socket.socket) -> "_Secured":
        context = self.tls.context()
        try:
            return _Secured(plain, context, self.host)
        except OSError as error:
            raise Unreachable(f"{self}: no TLS with it ({error}): check both certificates") from error

    def _hand_over(self, secured: "_Secured", frames: Iterable[bytes]) -> None:
        try:
            for one in frames:
                secured.send(one)
            with suppress(*(() if self.closes else (ssl.SSLEOFError,))):
                secured.close()
        except ssl.SSLEOFError as error:
            raise NoAnswer(
                f"{self} ended the connection without the close of TLS that RFC 5425 4.4 asks of it: it gets the "
                "same again; where it never closes, as rsyslog with gtls, set [audit] close_notify = false"
            ) from error
        except OSError as error:
            raise NoAnswer(
                f"{self} broke off ({error}): check both certificates and its log; it gets the same again"
            ) from error


class _Secured:
    """TLS over a connection, which tells a peer's close from a peer's alert.

    ``SSLSocket.unwrap`` takes any fatal alert that has come meanwhile for a close, and of TLS 1.3 the refusal of our
    certificate comes only then. Here nothing is read before our own close is written.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._plain, self._come, self._go = plain, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._come, self._go, server_hostname=host)
        self._turn(self._tls.do_handshake)

    def send(self, content: bytes) -> None:
        self._tls.write(content)
        self._plain.sendall(self._go.read())

    def close(self) -> None:
        """Close our side, and wait for the peer to close its own; raise ``OSError`` for anything else."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        with suppress(ssl.SSLZeroReturnError):
            self._turn(partial(self._tls.read, 1))
            raise ConnectionError("it sent something, where nothing is to be said")

    def _turn(self, step: Callable[[], object]) -> None:
        """Make a step, with what it waits for."""
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                self._plain.sendall(self._go.read())
                if content := self._plain.recv(READ_BYTES):
                    self._come.write(content)
                else:
                    self._come.write_eof()
            else:
                self._plain.sendall(self._go.read())
                return
