"""Alerts by a real mail server and a real web server: encrypted, signed, and tried again where they did not arrive."""

import hmac
import json
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority, Certificate, self_signed
from http_peer import http_peer
from mail_server import PASSWORD, USER, MailServer, mail_server
from processes import HOST, free_port, wait_until

from storage import alerts, outages
from storage.database import Database
from storage.disk import Disk
from storage.schema import Notice
from vb_node.config import MailSettings, WebhookSettings
from vb_node.errors import ConfigError, Later
from vb_node.tell.mail import Mail
from vb_node.tell.webhook import SIGNATURE, Webhook

SECRET = "0123456789abcdef"
NOTICES = [
    Notice(id=7, at=1000.0, change="raised", kind="job stuck", subject="job 17", detail="`vb-node jobs show 17`"),
    Notice(id=9, at=1060.5, change="cleared", kind="destination down", subject="pacs", detail="it cannot be reached"),
]

RUNNING = """\
[node]
data = "."

[[routes]]
name = "r"

[[destinations]]
name = "pacs"
ae_title = "PACS"

[retention]
warn_at = 1
stop_at = 1
stop_free_gb = 0

[alerts.mail]
host = "127.0.0.1"
port = {mail}
sender = "a@b"
to = ["c@d"]
ca_file = "{ca}"

[alerts.webhook]
url = "http://127.0.0.1:{hook}/"
secret_file = "secret"
"""


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("server")


def _mail(server: MailServer, authority: Authority, **more: object) -> Mail:
    words = {"host": HOST, "port": server.port, "sender": "vb-node@site.example", "ca_file": authority.pem}
    return Mail(MailSettings(**words | {"to": ("duty@site.example", "it@site.example")} | more), "VBNODE")  # type: ignore[arg-type]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_arrives_with_all_that_changed(authority: Authority, certificate: Certificate, security: str) -> None:
    with mail_server(certificate, security) as server:
        _mail(server, authority, security=security).send(NOTICES)

    (mail,) = server.mails()
    text = mail.get_content().replace("\r\n", "\n")
    assert server.came[0].rcpt_tos == ["duty@site.example", "it@site.example"]
    assert mail["Subject"] == "vb-node VBNODE: 1 raised, 1 cleared"
    assert mail["Message-ID"] == "<1060.500.9@site.example>"
    assert "1970-01-01 00:16:40 UTC  raised: job stuck, job 17\n    `vb-node jobs show 17`" in text
    assert "cleared: destination down, pacs" in text
    assert "it cannot be reached" not in text


def test_one_change_stands_in_the_subject(authority: Authority, certificate: Certificate) -> None:
    with mail_server(certificate) as server:
        _mail(server, authority).send(NOTICES[:1])

    assert server.mails()[0]["Subject"] == "vb-node VBNODE: raised: job stuck, job 17"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd does not count TLS from the first byte
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_node_logs_in_with_the_password_of_its_file(
    authority: Authority, certificate: Certificate, tmp_path: Path, security: str
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")

    with mail_server(certificate, security, login=True) as server:
        _mail(server, authority, security=security, user=USER, password_file=file).send(NOTICES)

    assert server.users == [USER]
    assert len(server.came) == 1


@pytest.mark.parametrize("password", ["not this one", "für niemand"])
def test_a_wrong_password_is_tried_again_later_and_told_to_nobody(
    authority: Authority, certificate: Certificate, password: str
) -> None:
    with mail_server(certificate, login=True) as server, pytest.raises(Later) as told:
        _mail(server, authority, user=USER, password=password).send(NOTICES)

    assert server.came == []
    assert password not in str(told.value)


def test_without_encryption_nothing_is_said(authority: Authority) -> None:
    with mail_server(None) as server, pytest.raises(Later, match="did not take the mail"):
        _mail(server, authority).send(NOTICES)

    assert server.came == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_server_with_a_wrong_certificate_gets_nothing(
    authority: Authority, tmp_path: Path, security: str
) -> None:
    with mail_server(self_signed(tmp_path), security) as server, pytest.raises(Later, match="certificate"):
        _mail(server, authority, security=security).send(NOTICES)

    assert server.came == []


def test_a_mail_server_that_is_busy_or_away_gets_it_later(authority: Authority, certificate: Certificate) -> None:
    with mail_server(certificate) as server:
        server.answer = "451 later, please"
        mail = _mail(server, authority)
        with pytest.raises(Later, match="451"):
            mail.send(NOTICES)
    with pytest.raises(Later, match="refused"):
        mail.send(NOTICES)

    assert server.came == []


def test_who_is_unknown_does_not_keep_the_others_from_being_told(
    authority: Authority, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(certificate) as server:
        server.unknown = {"duty@site.example"}
        _mail(server, authority).send(NOTICES)

    assert server.came[0].rcpt_tos == ["it@site.example"]
    assert "some were not told" in caplog.messages


def test_a_password_file_that_is_missing_or_empty_is_told_at_the_start(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")

    with mail_server(certificate) as server:
        for name in ("missing", "empty"):
            with pytest.raises(ConfigError, match="password_file"):
                _mail(server, authority, user=USER, password_file=tmp_path / name)


def _hook(url: str, tmp_path: Path, ca_file: Path | None = None) -> Webhook:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return Webhook(WebhookSettings(url=url, secret_file=tmp_path / "secret", ca_file=ca_file), "VBNODE")


def test_a_webhook_is_posted_what_changed_signed_with_the_secret(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    with http_peer(certificate.pem, certificate.key) as peer:
        peer.status = 204
        _hook(f"https://{HOST}:{peer.port}/duty/", tmp_path, authority.pem).send(NOTICES)

    ((method, path, headers, body),) = peer.came
    told = json.loads(body)
    assert (method, path) == ("POST", "/duty/")
    assert headers["Content-Type"] == "application/json"
    assert headers[SIGNATURE] == "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    assert (told["node"], told["id"]) == ("VBNODE", 9)
    assert told["changes"][0] == {
        "change": "raised",
        "kind": "job stuck",
        "subject": "job 17",
        "detail": "`vb-node jobs show 17`",
        "at": "1970-01-01T00:16:40+00:00",
    }


@pytest.mark.parametrize("status", [301, 400, 401, 500, 503])
def test_any_answer_but_a_success_means_later(tmp_path: Path, status: int) -> None:
    with http_peer() as peer:
        peer.status, peer.headers = status, {"Location": "http://elsewhere.example/"}
        with pytest.raises(Later, match=str(status)):
            _hook(f"http://{HOST}:{peer.port}/duty", tmp_path).send(NOTICES)

    assert len(peer.came) == 1


def test_a_webhook_that_is_away_or_shows_a_wrong_certificate_means_later(authority: Authority, tmp_path: Path) -> None:
    other = self_signed(tmp_path / "other")
    with http_peer(other.pem, other.key) as peer, pytest.raises(Later):
        _hook(f"https://{HOST}:{peer.port}/", tmp_path, authority.pem).send(NOTICES)
    with pytest.raises(Later):
        _hook(f"http://{HOST}:{free_port()}/", tmp_path).send(NOTICES)

    assert peer.came == []


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_a_secret_that_is_none_is_told_at_the_start(tmp_path: Path, secret: str | None) -> None:
    file = tmp_path / "own"
    if secret is not None:
        file.write_text(secret)

    with pytest.raises(ConfigError, match="secret_file"):
        Webhook(WebhookSettings(url="http://duty.example/", secret_file=file), "VBNODE")


def test_a_secret_that_is_gone_meanwhile_means_later(tmp_path: Path) -> None:
    with http_peer() as peer:
        hook = _hook(f"http://{HOST}:{peer.port}/", tmp_path)
        (tmp_path / "secret").unlink()
        with pytest.raises(Later, match="secret_file"):
            hook.send(NOTICES)

    assert peer.came == []


def test_a_running_station_tells_by_both_channels_what_is_wrong(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.upgrade()
    Disk(tmp_path).mend()
    with database.write() as session:
        outages.keep(session, "pacs", "no route", now=1000.0)

    with mail_server(certificate) as server, http_peer() as peer:
        file = tmp_path / "node.toml"
        file.write_text(RUNNING.format(mail=server.port, ca=authority.pem, hook=peer.port))
        command = [sys.executable, "-m", "vb_node", "serve", "--config", str(file), "--only", "tell"]
        station = subprocess.Popen(command)
        try:
            wait_until(lambda: bool(server.came and peer.came), 60, "both were told")
        finally:
            station.terminate()
            station.wait(20)

    assert server.mails()[0]["Subject"] == "vb-node VBNODE: raised: destination down, pacs"
    assert [one["kind"] for one in json.loads(peer.came[0][3])["changes"]] == ["destination down"]
    with database.read() as session:
        assert [list(alerts.pending(session, channel, limit=9)) for channel in ("mail", "webhook")] == [[], []]
    database.close()
