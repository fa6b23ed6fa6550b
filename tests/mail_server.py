"""A real mail server on loopback (aiosmtpd), over STARTTLS or TLS, with a login."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from certificates import Certificate
from processes import HOST, free_port

USER, PASSWORD = "vb-node", "open sesame"


@dataclass
class MailServer:
    """What came; ``answer`` is what it says to a mail, ``unknown`` whom it does not take mail for."""

    port: int
    answer: str = "250 OK"
    unknown: set[str] = field(default_factory=set)
    came: list[Envelope] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802  the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        if self.answer.startswith("250"):
            self.came.append(envelope)
        return self.answer

    def know(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, shown: object) -> AuthResult:
        is_right = isinstance(shown, LoginPassword) and (shown.login, shown.password) == (
            USER.encode(),
            PASSWORD.encode(),
        )
        self.users += [USER] if is_right else []
        return AuthResult(success=is_right, handled=is_right)

    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(one.content or b"", policy=policy.default) for one in self.came]


@contextmanager
def mail_server(
    certificate: Certificate | None, security: str = "starttls", *, login: bool = False
) -> Iterator[MailServer]:
    """Serve; without a certificate it offers no TLS."""
    server = MailServer(free_port())
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.pem, certificate.key)
    words: dict[str, object] = {"authenticator": server.know, "auth_required": True} if login else {}
    if security == "tls":
        words |= {"ssl_context": context, "auth_require_tls": False}
    elif context is not None:
        words |= {"tls_context": context, "require_starttls": True}
    controller = Controller(server, hostname=HOST, port=server.port, **words)  # type: ignore[arg-type]
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
