"""DICOM over TLS 1.2 and 1.3 (PS3.15 B.12): who a peer is, by its certificate, on both sides.

The files are looked at for each connection: a certificate that is renewed on disk serves the next one, and the
associations that are open go on.
"""

import hashlib
import logging
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

from vb_node.errors import ConfigError

log = logging.getLogger(__name__)

# TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 4.2); TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: our certificate (chain) and key, the authorities that sign peers, and what they revoked."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    crl: Path | None = None

    def stamp(self) -> tuple[int, ...]:
        """Give what changes when one of the files does."""
        named = (self.certificate, self.key, self.ca, self.crl)
        return tuple(path.stat().st_mtime_ns for path in named if path is not None)


@dataclass
class ServerTls:
    """The listener's side; with ``requires_peer`` only peers with a certificate of the authorities come in."""

    files: TlsFiles
    requires_peer: bool = True
    section: str = "receive.tls"
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        try:
            self._stamp, self._context = self.files.stamp(), self._build()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.section}: certificate, key and ca as PEM files expected: {error}") from error

    def _build(self) -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER, self.files)
        if self.files.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self.requires_peer else ssl.CERT_OPTIONAL
        return context

    def _current(self) -> ssl.SSLContext:
        """Give the context of the files as they are now; while they do not fit together, the last one that did."""
        with self._lock:
            try:
                stamp = self.files.stamp()
                if stamp != self._stamp:
                    self._context = self._build()
                    self._stamp = stamp
                    log.info("TLS certificate renewed")
            except (OSError, ValueError) as error:
                log.warning("TLS files not taken, the former ones serve on", extra={"why": type(error).__name__})
            return self._context

    def context(self) -> ssl.SSLContext:
        """Give a context for a server that shakes hands itself; each connection gets the files as they are then."""

        def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current()

        context = self._build()
        context.sni_callback = renew
        return context

    def shake_hands(self, connection: socket.socket, within_s: float) -> tuple[socket.socket, str | None]:
        """Give the connection secured, and the fingerprint of the peer's certificate if it showed one.

        Raises
        ------
        OSError
            There was no handshake in time, or the peer is not who it must be.
        """
        connection.settimeout(within_s)
        secured = self._current().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except OSError:
            secured.close()
            raise
        shown = secured.getpeercert(binary_form=True)
        return secured, hashlib.sha256(shown).hexdigest() if shown else None


@dataclass(frozen=True)
class ClientTls:
    """The sender's side: the peer shows a certificate of the authorities, for its host name if that is checked."""

    files: TlsFiles
    checks_host: bool = True
    section: str = "destinations.tls"

    def context(self) -> ssl.SSLContext:
        """Read the files; raise ``ConfigError`` where one is missing or is not what it should be."""
        try:
            context = _context(ssl.PROTOCOL_TLS_CLIENT, self.files)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.section}: ca, certificate and key as PEM files expected: {error}") from error
        context.check_hostname = self.checks_host
        return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)
    if files.ca is not None:
        context.load_verify_locations(files.ca)
    if files.crl is not None:
        context.load_verify_locations(files.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context
