"""Who may send by HTTP: a peer that is configured, known by its token, its certificate, or both."""

import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from vb_node.config import WebPeerSettings
from vb_node.dimse.door import is_among
from vb_node.errors import ConfigError

log = logging.getLogger(__name__)

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Caller:
    """What a request shows of who sends it."""

    host: str
    authorization: str = ""
    certificate: str | None = None

    @property
    def token(self) -> bytes:
        """Give the bearer token (RFC 6750 2.1), empty where there is none."""
        scheme, _, token = self.authorization.partition(" ")
        return token.strip().encode("utf-8") if scheme.lower() == "bearer" else b""


class Door:
    """Says whose request this is. A token is read for each request: one that is renewed on disk counts at once."""

    def __init__(self, peers: Sequence[WebPeerSettings]) -> None:
        self._peers = peers
        for peer in peers:
            if peer.token_file is not None and len(_token(peer)) < SHORTEST_TOKEN:
                raise ConfigError(
                    f"token_file {peer.token_file} of web peer {peer.ae_title}: a readable file with "
                    f"{SHORTEST_TOKEN} characters or more expected, such as of `openssl rand -hex 32`"
                )

    def who(self, caller: Caller) -> str | None:
        """Give the AE title of the peer that a request comes from, None for a stranger's."""
        known = [peer.ae_title for peer in self._peers if _is_of(caller, peer)]  # each is asked: the time tells nothing
        return known[0] if known else None


def _is_of(caller: Caller, peer: WebPeerSettings) -> bool:
    shows_token = peer.token_file is None or _is_equal(caller.token, _token(peer))
    shows_certificate = peer.certificate is None or peer.certificate == caller.certificate
    return shows_token and shows_certificate and (not peer.hosts or is_among(caller.host, peer.hosts))


def _is_equal(shown: bytes, token: bytes) -> bool:
    return len(token) >= SHORTEST_TOKEN and hmac.compare_digest(shown, token)


def _token(peer: WebPeerSettings) -> bytes:
    if peer.token_file is None:
        return b""
    try:
        return peer.token_file.read_bytes().strip()
    except OSError as error:
        log.warning("token not read", extra={"peer": peer.ae_title, "why": error.strerror})
        return b""
