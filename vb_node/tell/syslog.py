"""Audit messages to a syslog repository over TLS (PS3.15 A.6: RFC 5424 messages in RFC 5425 frames)."""

import os
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from vb_node.dimse.tls import ClientTls
from vb_node.errors import NoAnswer, Unreachable
from vb_node.tell.audit_message import AuditMessage, encode

FACILITY, NOTICE, WARNING = 10, 5, 4
MESSAGE_ID = "DICOM+RFC3881"
BOM = b"\xef\xbb\xbf"
PATIENCE_S = 10.0
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
    """An audit repository; one connection a delivery."""

    host: str
    port: int
    tls: ClientTls

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames, and return when the repository has read them all.

        Syslog has no answer. But a receiver must answer our close of TLS with its own (RFC 5425 4.4), and it reads
        ours after all that came before. An end of the connection without it is what one who cuts it looks like.

        Raises
        ------
        Unreachable
            No connection, or the repository is not who it must be; nothing was sent.
        NoAnswer
            The connection broke: it may have some of them.
        """
        context = self.tls.context()
        try:
            plain = socket.create_connection((self.host, self.port), PATIENCE_S)
        except OSError as error:
            raise Unreachable(f"{self.host}:{self.port} cannot be reached ({error}): check host and network") from error
        with plain:
            try:
                secured = context.wrap_socket(plain, server_hostname=self.host)
            except OSError as error:
                raise Unreachable(
                    f"{self.host}:{self.port}: no TLS with it ({error}): check both certificates"
                ) from error
            with secured:
                self._hand_over(secured, frames)

    def _hand_over(self, secured: ssl.SSLSocket, frames: Iterable[bytes]) -> None:
        try:
            for one in frames:
                secured.sendall(one)
            secured.unwrap()
        except OSError as error:
            raise NoAnswer(
                f"{self.host}:{self.port} did not close TLS after the last message as RFC 5425 4.4 asks ({error}): "
                "it gets the same again"
            ) from error
