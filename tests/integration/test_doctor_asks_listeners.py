"""The doctor asks audit repository, mail server and webhook whether they would listen; nothing is told to them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http_peer import Peer, http_peer
from mail_server import PASSWORD, USER, MailServer, mail_server
from processes import HOST, free_port
from syslog_server import SyslogServer, syslog_server

from vb_node import doctor
from vb_node.config import build
from vb_node.doctor import Finding

ABOUT = ("audit repository", "mail server", "webhook")


@dataclass
class Site:
    """Three who listen, and the tables of a configuration that names them."""

    authority: Authority
    repository: SyslogServer
    mail: MailServer
    hook: Peer
    tables: dict[str, Any]

    def findings(self, **changes: dict[str, Any]) -> dict[str, Finding]:
        """Examine the configuration, with some keys of ``audit``, ``mail`` or ``webhook`` changed."""
        audit = self.tables["audit"] | changes.get("audit", {})
        alerts = {name: self.tables[name] | changes.get(name, {}) for name in ("mail", "webhook")}
        settings = build({"audit": audit, "alerts": alerts})
        return {one.about: one for one in doctor.examine_configuration(settings) if one.about in ABOUT}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    authority = Authority(tmp_path / "ca")
    certificate, ours = authority.issue("server"), authority.issue("node")
    (tmp_path / "secret").write_text("0123456789abcdef")
    with ExitStack() as stack:
        repository = stack.enter_context(syslog_server(certificate, authority))
        mail = stack.enter_context(mail_server(certificate, login=True))
        hook = stack.enter_context(http_peer(certificate.pem, certificate.key))
        tls = {"ca": authority.pem, "certificate": ours.pem, "key": ours.key}
        to = {"sender": "a@b", "to": ["c@d"], "user": USER, "password": PASSWORD, "ca_file": authority.pem}
        url = {"url": f"https://{HOST}:{hook.port}/duty", "secret_file": tmp_path / "secret", "ca_file": authority.pem}
        tables = {"audit": {"host": HOST, "port": repository.port, "tls": tls}, "webhook": url}
        yield Site(authority, repository, mail, hook, tables | {"mail": {"host": HOST, "port": mail.port} | to})


def test_those_who_listen_are_good_and_were_told_nothing(site: Site) -> None:
    found = site.findings()

    assert {about: one.state for about, one in found.items()} == dict.fromkeys(ABOUT, "good")
    assert site.mail.users == [USER]
    assert (site.repository.came, site.mail.came, site.hook.came) == ([], [], [])


@pytest.mark.parametrize("about", ABOUT)
def test_one_that_is_away_is_wrong_with_what_to_do_and_the_others_are_asked(site: Site, about: str) -> None:
    port = free_port()
    away: dict[str, dict[str, Any]] = {
        "audit repository": {"audit": {"port": port}},
        "mail server": {"mail": {"port": port}},
        "webhook": {"webhook": {"url": f"https://{HOST}:{port}/duty"}},
    }

    found = site.findings(**away[about])

    assert {name for name, one in found.items() if one.state != "good"} == {about}
    assert "refused" in found[about].found
    assert "wait" in found[about].remedy


def test_a_repository_that_does_not_take_our_certificate_is_found_out(site: Site) -> None:
    found = site.findings(audit={"tls": {"ca": site.authority.pem}})

    assert found["audit repository"].state == "wrong"
    assert "check both certificates" in found["audit repository"].found


def test_a_mail_server_that_does_not_know_the_password_is_found_out(site: Site) -> None:
    found = site.findings(mail={"password": "close sesame"})

    assert found["mail server"].state == "wrong"
    assert "close sesame" not in found["mail server"].found


def test_a_webhook_whose_authority_is_not_trusted_is_found_out(site: Site, tmp_path: Path) -> None:
    found = site.findings(webhook={"ca_file": Authority(tmp_path / "other").pem})

    assert found["webhook"].state == "wrong"
    assert "certificate" in found["webhook"].found


def test_a_shadow_route_that_compares_the_same_with_the_same_is_doubtful() -> None:
    routes = [{"name": "live"}, {"name": "same", "shadow": True}]
    routes += [{"name": "other", "shadow": True, "virtual_biopsy": {"must_have_contrast": False}}]

    found = {one.about: one for one in doctor.examine_configuration(build({"routes": routes}))}

    assert (found["route same"].state, found["route other"].state) == ("doubtful", "good")
    assert "the same is compared with the same" in found["route same"].remedy
