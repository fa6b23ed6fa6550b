"""Alerts by e-mail, over TLS only."""

import logging
import smtplib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from storage.schema import Notice
from vb_node.config import MailSettings
from vb_node.dicomweb.service import trust
from vb_node.errors import ConfigError, Later

log = logging.getLogger(__name__)

PATIENCE_S = 20.0


class Mail:
    """A mail server, and those whom it tells."""

    def __init__(self, settings: MailSettings, node: str) -> None:
        self.settings, self.node = settings, node
        self.tls = trust(settings.ca_file)
        if self._password() == "":
            raise ConfigError("alerts.mail.password_file: a password expected, came an empty file")

    def send(self, notices: Sequence[Notice]) -> None:
        """Send one mail of all; raise ``Later``."""
        with self._logged_in() as server:
            refused = server.send_message(self._message(notices))
        if refused:
            log.warning("some were not told", extra={"refused": len(refused), "of": len(self.settings.to)})

    def probe(self) -> None:
        """Do all that comes before a mail, and send none; raise ``Later``."""
        with self._logged_in() as server:
            server.noop()

    @contextmanager
    def _logged_in(self) -> Iterator[smtplib.SMTP]:
        """Connect by TLS, and log in where there is a user; raise ``Later`` for what goes wrong until it is left."""
        try:
            with self._connect() as server:
                if self.settings.security == "starttls":
                    server.starttls(context=self.tls)
                password = self._password()
                if self.settings.user is not None and password is not None:
                    server.login(self.settings.user, password)
                yield server
        except (smtplib.SMTPException, OSError, ConfigError) as error:
            raise Later(f"{self.settings.host}:{self.settings.port} did not take the mail ({error})") from error
        except ValueError as error:  # its text may quote the password
            host = self.settings.host
            raise Later(f"{host}: user and password in ASCII expected, a letter came that cannot be sent") from error

    def _connect(self) -> smtplib.SMTP:
        host, port = self.settings.host, self.settings.port
        if self.settings.security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=self.tls)
        return smtplib.SMTP(host, port, timeout=PATIENCE_S)

    def _password(self) -> str | None:
        if self.settings.password is not None:
            return self.settings.password.get_secret_value()
        file = self.settings.password_file
        if file is None:
            return None
        try:
            return file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"alerts.mail.password_file {file} cannot be read") from error

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        message, last = EmailMessage(), notices[-1]
        domain = self.settings.sender.partition("@")[2]
        message["From"], message["To"] = self.settings.sender, ", ".join(self.settings.to)
        message["Subject"] = f"vb-node {self.node}: {headline(notices)}"
        message["Date"] = format_datetime(datetime.fromtimestamp(last.at, UTC))
        message["Message-ID"] = f"<{last.at:.3f}.{last.id}@{domain}>"  # the same of a mail that is sent again
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join(map(line, notices)) + "\n\nWhat to do is in docs/operations.md.\n")
        return message


def headline(notices: Sequence[Notice]) -> str:
    """Say in a few words what changed."""
    if len(notices) == 1:
        return f"{notices[0].change}: {notices[0].kind}, {notices[0].subject}"
    counts = Counter(one.change for one in notices)
    return ", ".join(f"{count} {change}" for change, count in counts.items())


def line(notice: Notice) -> str:
    """Say what changed, when, and, of what is so now, what to do."""
    moment = datetime.fromtimestamp(notice.at, UTC)
    told = f"{moment:%Y-%m-%d %H:%M:%S} UTC  {notice.change}: {notice.kind}, {notice.subject}"
    return f"{told}\n    {notice.detail}" if notice.change == "raised" else told
