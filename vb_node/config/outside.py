"""The tables of what people and other machines see: web, the audit repository, alerts."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from vb_node.config.section import (
    AeTitle,
    DestinationTlsSettings,
    Fingerprint,
    HostName,
    MailAddress,
    Network,
    Port,
    ReceiveTlsSettings,
    Section,
    Url,
)

Role = Literal["viewer", "operator", "auditor", "admin"]
Claim = Annotated[str, Field(min_length=1, max_length=200)]


class WebPeerSettings(Section):
    """Who may send by STOW-RS: by a token, a certificate, or both; ``ae_title`` is the name of what it sends."""

    ae_title: AeTitle
    hosts: tuple[Network, ...] = ()
    token_file: Path | None = None
    certificate: Fingerprint | None = None

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if self.token_file is None and self.certificate is None:
            raise ValueError(f"web peer {self.ae_title} needs token_file or certificate, by which it is known")
        return self


class OidcSettings(Section):
    """The site's OpenID provider: which claim of its ID token names a person, and which one gives the role.

    ``roles`` leads from a value of ``role_claim`` to a role; of several that a person has, the first one here counts.
    """

    issuer: Annotated[Url, Field(max_length=500)]
    client_id: Annotated[str, Field(pattern=r"^[\x21-\x39\x3b-\x7e]{1,200}$")]
    client_secret_file: Path
    role_claim: Claim
    roles: Annotated[dict[str, Role], Field(min_length=1)]
    name_claim: Claim = "preferred_username"
    scopes: tuple[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,100}$")], ...] = ("profile",)
    ca_file: Path | None = None
    label: Annotated[str, Field(min_length=1, max_length=60)] = "Sign in with OpenID Connect"

    @model_validator(mode="after")
    def _is_told_by_tls(self) -> Self:
        address = urlsplit(self.issuer)
        if address.scheme != "https" and not _is_loopback(address.hostname or ""):
            raise ValueError(f"issuer {self.issuer}: an https address expected, codes and tokens are secrets")
        return self


class WebSettings(Section):
    """The web station: pages, API, STOW-RS and health.

    Limits of connections, instances and patience are those of [receive]; users are in the ledger (``vb-node users``).
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    max_body_mb: Annotated[int, Field(ge=1)] = 4096
    max_parts: Annotated[int, Field(ge=1)] = 10_000
    hosts: tuple[HostName, ...] = ()
    session_h: Annotated[float, Field(gt=0, le=24)] = 8.0
    metrics_token_file: Path | None = None
    oidc: OidcSettings | None = None
    tls: ReceiveTlsSettings | None = None
    peers: tuple[WebPeerSettings, ...] = ()

    @model_validator(mode="after")
    def _is_not_exposed(self) -> Self:
        if self.tls is None and not _is_loopback(self.host):
            raise ValueError(f"host {self.host} is no loopback address: that needs [web.tls], tokens are secrets")
        bound = [peer.ae_title for peer in self.peers if peer.certificate is not None]
        if bound and (self.tls is None or self.tls.ca is None):
            raise ValueError(f"web peers {bound} are bound to a certificate: that needs [web.tls] with ca")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AuditSettings(Section):
    """The audit repository of the site (PS3.15 A.5 and A.6); without ``source`` the node is named by its AE title."""

    kind: Literal["syslog-tls"] = "syslog-tls"
    host: HostName
    port: Port = 6514
    source: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    site: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    close_notify: bool = True
    tls: DestinationTlsSettings


class MailSettings(Section):
    """The site's mail server; the password is that of ``user``, and comes from a file or the environment."""

    host: HostName
    port: Port = 587
    security: Literal["starttls", "tls"] = "starttls"
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)]
    user: str | None = None
    password_file: Path | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("user needs password_file (or the password by the environment), and they need user")
        return self


class WebhookSettings(Section):
    """Where alerts go as JSON, signed with the secret in a file."""

    url: Url
    secret_file: Path
    ca_file: Path | None = None


class AlertsSettings(Section):
    """Whom to tell, and of what: later than ``objective_min``, silent for ``silent_h``, down for ``down_min``."""

    objective_min: Annotated[float, Field(gt=0)] = 30.0
    silent_h: Annotated[float, Field(gt=0)] = 24.0
    down_min: Annotated[float, Field(ge=0)] = 15.0
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None

    @model_validator(mode="after")
    def _reaches_somebody(self) -> Self:
        if self.mail is None and self.webhook is None:
            raise ValueError("[alerts.mail] or [alerts.webhook] expected: alerts must reach somebody")
        return self
