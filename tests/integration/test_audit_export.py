"""The audit trail to a real repository over TLS: nothing is lost while it is away, and nobody else gets it."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from certificates import Authority, Certificate, self_signed
from empty_ledger import empty_ledger
from processes import HOST, free_port, wait_until
from syslog_server import SyslogServer, syslog_server

from storage import audit, exports
from vb_node import config
from vb_node.config import Settings
from vb_node.errors import ConfigError, NoAnswer
from vb_node.runtime import line
from vb_node.tell.export import CURSOR, RETRY_S, AuditExport

HEADER = re.compile(
    rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ vb-node \d+ DICOM\+RFC3881 - \xef\xbb\xbf<\?xml"
)
NAMES = "Größe 山田"


class Site:
    """A ledger, certificates, and settings that name a repository."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.now = home, free_port(), 1000.0
        self.authority = Authority(home / "ca")
        self.repository, self.node = (self.authority.issue(name) for name in ("repository", "node"))
        self.database = empty_ledger(home / "ledger.db")

    def settings(self, ca: Path | None = None, shown: Certificate | None = None, **more: object) -> Settings:
        own = shown or self.node
        tls = {"ca": ca or self.authority.pem, "certificate": own.pem, "key": own.key}
        return config.build({"audit": {"host": HOST, "port": self.port, "tls": tls} | more})

    def export(self, **changes: object) -> AuditExport:
        settings = self.settings(**changes)  # type: ignore[arg-type]
        assert settings.audit is not None
        return AuditExport(self.database, settings, settings.audit)

    def serve(self, certificate: Certificate | None = None) -> AbstractContextManager[SyslogServer]:
        return syslog_server(certificate or self.repository, self.authority, self.port)

    def write(self, count: int = 1) -> None:
        """Write lines of the trail that become a message each."""
        for _ in range(count):
            with self.database.write() as session:
                self.now += 1
                details = {"why": f"{NAMES} {self.now:g}", "host": "10.0.0.5"}
                keys = {"peer": "STRANGER", "outcome": "refused", "details": details}
                audit.record(session, "association rejected", now=self.now, actor="receive", **keys)

    def turn(self, export: AuditExport, later_s: float = 100.0) -> bool:
        self.now += later_s
        return export.step(self.now)

    def place(self) -> int:
        with self.database.read() as session:
            return 0 if (found := exports.following(session, CURSOR, limit=1)) == [] else found[0].seq


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.database.close()


def _lines(server: SyslogServer) -> list[str | None]:
    """Give which line of the trail each message tells of."""
    return [
        one.findall("ParticipantObjectIdentification")[-1].findtext("ParticipantObjectName") for one in server.xml()
    ]


def test_each_line_arrives_once_in_order_in_a_frame_counted_in_octets(site: Site) -> None:
    site.write(3)
    export = site.export()

    with site.serve() as server:
        is_busy = site.turn(export)
        is_busy_again = site.turn(export)

    assert (is_busy, is_busy_again) == (True, False)
    assert _lines(server) == ["line 1", "line 2", "line 3"]
    assert all(HEADER.match(one) for one in server.came)
    assert {HEADER.match(one)[1] for one in server.came} == {b"84"}  # type: ignore[index]
    assert NAMES in (server.xml()[0].findtext(".//EventOutcomeDescription") or "")
    assert len(server.came[0]) > len(server.came[0].decode())


def test_while_the_repository_is_away_nothing_is_lost_and_then_all_follows_in_order(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    export = site.export()
    site.write(2)
    with site.serve() as before:
        site.turn(export)
    site.write(2)

    are_busy = [site.turn(export) for _ in range(3)]
    site.write(1)
    with site.serve() as after:
        site.turn(export)

    assert are_busy == [False] * 3
    assert _lines(before) == ["line 1", "line 2"]
    assert _lines(after) == ["line 3", "line 4", "line 5"]
    assert [one.message for one in caplog.records if "repository" in one.message] == [
        "audit repository away",
        "audit repository back",
    ]


def test_a_repository_that_is_away_is_left_alone_for_a_while(site: Site) -> None:
    export = site.export()
    site.write()
    site.turn(export)

    with site.serve() as server:
        too_early = site.turn(export, later_s=RETRY_S / 2)
        in_time = site.turn(export, later_s=RETRY_S)

    assert (too_early, in_time) == (False, True)
    assert _lines(server) == ["line 1"]


def test_a_new_process_goes_on_where_the_last_one_was(site: Site) -> None:
    site.write(2)
    with site.serve() as server:
        site.turn(site.export())
        site.write(1)
        site.turn(site.export())

    assert _lines(server) == ["line 1", "line 2", "line 3"]


def test_what_a_broken_connection_may_have_brought_comes_again(site: Site) -> None:
    site.write(3)
    export = site.export()

    with site.serve() as server:
        server.breaks_after = 2
        is_done = site.turn(export)
        server.breaks_after = None
        site.turn(export)

    assert not is_done
    assert _lines(server)[-3:] == ["line 1", "line 2", "line 3"]


def test_an_end_without_the_close_of_tls_is_a_receipt_only_where_the_site_says_so(site: Site) -> None:
    site.write(2)
    export = site.export(close_notify=False)

    with site.serve() as server:
        server.is_mute = True
        is_done = site.turn(export)
        site.write(1)
        server.breaks_after = 1
        is_done_when_reset = site.turn(export)

    assert (is_done, is_done_when_reset) == (True, False)
    assert _lines(server) == ["line 1", "line 2", "line 3"]


def test_an_end_without_the_close_of_tls_is_no_receipt(site: Site) -> None:
    site.write(2)
    export = site.export()

    with site.serve() as server:
        server.is_mute = True
        is_done = site.turn(export)
        server.is_mute = False
        site.turn(export)

    assert not is_done
    assert _lines(server) == ["line 1", "line 2"] * 2


@pytest.mark.parametrize("shown", ["of another authority", "self-signed", "of another host", "expired"])
def test_a_repository_with_a_wrong_certificate_gets_nothing(site: Site, shown: str) -> None:
    certificates = {
        "of another authority": lambda: Authority(site.home / "other", "other").issue("repository"),
        "self-signed": lambda: self_signed(site.home / "self"),
        "of another host": lambda: site.repository,
        "expired": lambda: site.authority.issue("late", days=-1),
    }
    site.write()
    export = site.export(host="localhost" if shown == "of another host" else HOST)

    with site.serve(certificates[shown]()) as server:
        is_done = site.turn(export)

    assert not is_done
    assert server.came == []
    assert site.place() == 1


def test_a_repository_that_does_not_know_us_keeps_the_cursor_where_it_is(site: Site) -> None:
    stranger = Authority(site.home / "other", "other").issue("node")
    site.write()

    with site.serve() as server:
        is_done = site.turn(site.export(shown=stranger))

    assert not is_done
    assert server.came == []
    assert site.place() == 1


def test_a_refusal_that_comes_before_our_close_is_no_receipt(site: Site) -> None:
    stranger = Authority(site.home / "other", "other").issue("node")
    repository = site.export(shown=stranger).repository

    with site.serve() as server:

        def nothing() -> Iterator[bytes]:
            wait_until(lambda: server.refused > 0, 10, "the repository has refused us")
            yield from ()

        with pytest.raises(NoAnswer):
            repository.send(nothing())


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nMIIB", "no certificate"])
def test_a_cut_file_of_authorities_is_told_at_the_start(site: Site, content: str) -> None:
    cut = site.home / "cut.pem"
    cut.write_text(content)

    with pytest.raises(ConfigError, match=r"audit\.tls"):
        site.export(ca=cut)


def test_a_running_station_tells_what_is_written_and_follows_the_trail(site: Site, tmp_path: Path) -> None:
    tls = f'[audit.tls]\nca = "{site.authority.pem}"\ncertificate = "{site.node.pem}"\nkey = "{site.node.key}"\n'
    file = tmp_path / "node.toml"
    file.write_text(f'[node]\ndata = "."\n\n[audit]\nhost = "{HOST}"\nport = {site.port}\n{tls}')
    site.write(2)

    with site.serve() as server:
        command = [sys.executable, "-m", "vb_node", "serve", "--config", str(file), "--only", "tell"]
        station = subprocess.Popen(command)
        try:
            wait_until(lambda: len(server.came) == 2, 60, "what was there is told")
            site.write(1)
            wait_until(lambda: len(server.came) == 3, 20, "what is new is told")
        finally:
            station.terminate()
            status = station.wait(20)

    assert status == 0
    assert _lines(server) == ["line 1", "line 2", "line 3"]


def test_the_station_runs_only_where_somebody_is_to_be_told(site: Site) -> None:
    assert "tell" in line.wanted(site.settings())
    assert "tell" not in line.wanted(config.build({}))
