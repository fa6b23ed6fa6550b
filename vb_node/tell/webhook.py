"""Alerts to a service on the network: JSON, signed by a secret that both know."""

import hmac
import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from storage.schema import Notice
from vb_node.config import WebhookSettings
from vb_node.dicomweb.service import Service, exchange, trust
from vb_node.errors import ConfigError, Later, Unreachable

PATIENCE_S, LONGEST_S, SHORTEST_SECRET = 10.0, 20.0, 16
SIGNATURE = "X-VbNode-Signature"


class Webhook:
    """A service that takes alerts by POST."""

    def __init__(self, settings: WebhookSettings, node: str) -> None:
        self.settings, self.node = settings, node
        tls = trust(settings.ca_file)
        self.service = Service(settings.url, tls=tls, connect_s=PATIENCE_S, answer_s=PATIENCE_S)
        self._secret()

    def send(self, notices: Sequence[Notice]) -> None:
        """Post all at once; raise ``Later``."""
        body = json.dumps(
            {"node": self.node, "id": notices[-1].id, "changes": [_told(one) for one in notices]}
        ).encode()
        try:
            signature = hmac.new(self._secret(), body, "sha256").hexdigest()
        except ConfigError as error:
            raise Later(str(error)) from error
        headers = {"Accept": "*/*", "Content-Type": "application/json", "Content-Length": str(len(body))}
        headers[SIGNATURE] = f"sha256={signature}"
        path = "/" if self.settings.url.endswith("/") else ""
        answer = exchange(self.service, "POST", path, longest_s=LONGEST_S, headers=headers, content=iter([body]))
        if not 200 <= answer.status < 300:
            raise Later(f"{self.service} answered {answer.status}, expected 200 to 299")

    def probe(self) -> None:
        """Connect, by TLS where the URL says so, and ask nothing; raise ``Unreachable``."""
        url = urlsplit(self.settings.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            with socket.create_connection((url.hostname or "", port), PATIENCE_S) as plain:
                if url.scheme == "https":
                    self.service.tls.wrap_socket(plain, server_hostname=url.hostname).close()
        except OSError as error:
            raise Unreachable(
                f"{self.service} cannot be reached ({error}): check url, certificate and network"
            ) from error

    def _secret(self) -> bytes:
        file: Path = self.settings.secret_file
        try:
            secret = file.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"alerts.webhook.secret_file {file} cannot be read ({error.strerror})") from error
        if len(secret) < SHORTEST_SECRET:
            raise ConfigError(f"alerts.webhook.secret_file {file}: {SHORTEST_SECRET} characters or more expected")
        return secret


def _told(notice: Notice) -> dict[str, Any]:
    moment = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds")
    words = {"change": notice.change, "kind": notice.kind, "subject": notice.subject}
    return words | {"detail": notice.detail, "at": moment}
