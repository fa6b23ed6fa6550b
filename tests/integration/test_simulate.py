"""The faulty sender against our own listener and DCMTK's, the faulty PACS against our sender."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from certificates import Authority
from factories import head, mr_series, write
from processes import HOST, free_port, storescp, tool, wait_until
from typer.testing import CliRunner

from vb_node import show
from vb_node.cli import app
from vb_node.dimse import scu
from vb_node.dimse.tls import ClientTls, ServerTls, TlsFiles
from vb_node.errors import ConfigError, Later
from vb_node.simulate import pacs, sender, series

TOML = """\
[receive]
port = {port}
[[receive.peers]]
ae_title = "SENDER"
hosts = ["127.0.0.1"]
"""


@contextmanager
def _listening(home: Path, toml: str, address: scu.Address) -> Iterator[None]:
    (home / "node.toml").write_text(toml)
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(home / "node.toml"), "--only", "receive"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            wait_until(sender.Target(address, "SENDER").echoes, 60, "the listener answers")
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scu.Address]:
    """Run our listener alone."""
    port = free_port()
    address = scu.Address("VBNODE", HOST, port)
    with _listening(tmp_path_factory.mktemp("node"), TOML.format(port=port), address):
        yield address


@pytest.mark.parametrize("fault", sender.FAULTS)
def test_our_listener_takes_every_fault_well(node: scu.Address, fault: str) -> None:
    judgement = sender.judge(fault, node, "SENDER")

    assert judgement.is_good, judgement


@pytest.fixture(scope="module")
def ours(authority: Authority) -> list[str]:
    """Give the options with which we show a certificate, and know that of the other side."""
    shown = authority.issue("sender")
    return ["--tls-ca", str(authority.pem), "--tls-certificate", str(shown.pem), "--tls-key", str(shown.key)]


@pytest.fixture(scope="module")
def tls_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls_node")


@pytest.fixture(scope="module")
def tls_node(authority: Authority, tls_home: Path) -> Iterator[scu.Address]:
    """Run our listener alone; it asks for certificates."""
    own, port = authority.issue("node"), free_port()
    tls = f'[receive.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nca = "{authority.pem}"\n'
    shown = authority.issue("probe")
    files = TlsFiles(shown.pem, shown.key, authority.pem)
    address = scu.Address("VBNODE", HOST, port, ClientTls(files))
    with _listening(tls_home, TOML.format(port=port) + tls, address):
        yield scu.Address("VBNODE", HOST, port)


@pytest.mark.parametrize("fault", ["duplicates", "wrong-ae", "wrong-called-ae", "truncated", "idle", "half-pdu"])
def test_our_listener_takes_faults_by_tls_well(tls_node: scu.Address, ours: list[str], fault: str) -> None:
    told = CliRunner().invoke(app, ["simulate", fault, "--to", str(tls_node), "--calling", "SENDER", *ours])

    assert told.exit_code == 0, told.stdout


def test_the_faults_show_that_a_listener_asks_for_a_certificate(
    tls_node: scu.Address, tls_home: Path, ours: list[str]
) -> None:
    told = CliRunner().invoke(app, ["simulate", "duplicates", "--to", str(tls_node), "--calling", "SENDER", *ours[:2]])

    assert told.exit_code == 1
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in (tls_home / "log").read_text()


def test_echo_and_send_speak_tls(tls_node: scu.Address, ours: list[str], tmp_path: Path) -> None:
    write(mr_series(head((2, 16, 16))), tmp_path)
    to, calling = str(tls_node), ["--calling", "SENDER"]

    echoed = CliRunner().invoke(app, ["echo", to, *calling, *ours])
    sent = CliRunner().invoke(app, ["send", str(tmp_path), "--to", to, *calling, *ours])

    assert (echoed.exit_code, sent.exit_code) == (0, 0), sent.stdout


@pytest.mark.parametrize("command", ["echo", "pacs"])
def test_tls_without_its_files_is_wrong_usage(ours: list[str], command: str) -> None:
    words = {"echo": ["echo", "PACS@127.0.0.1:4242", *ours[2:4]], "pacs": ["simulate", "pacs", *ours[:2]]}[command]

    told = CliRunner().invoke(app, words)

    assert told.exit_code != 0
    assert isinstance(told.exception, ConfigError)


@pytest.mark.parametrize(("fault", "is_good"), [("duplicates", True), ("other-content", False)])
def test_dcmtk_is_told_what_it_takes_well_and_what_not(tmp_path: Path, fault: str, is_good: bool) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port):
        judgement = sender.judge(fault, scu.Address("PACS", HOST, port), "SENDER")

    assert judgement.is_good is is_good, judgement


def test_what_the_simulator_sends_is_dicom(tmp_path: Path) -> None:
    port, instances = free_port(), series.make(2)
    with storescp(tmp_path / "pacs", port) as folder:
        statuses = sender.Target(scu.Address("PACS", HOST, port), "SENDER").send(instances)

        judge = [tool("dcmftest"), *map(str, folder.iterdir())]
        is_dicom = subprocess.run(judge, capture_output=True, check=False).returncode == 0

    assert statuses == [0, 0]
    assert is_dicom


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _send_twice(to: scu.Address, path: Path) -> None:
    wait_until(lambda: _listens(to.port), 20, "the faulty PACS listens")
    for _ in range(2):
        try:
            scu.store(to, "NODE", path, lambda sent, _: sent, scu.Timeouts(5.0, 3.0))
        except (Later, scu.NotAccepted):
            continue


@pytest.mark.parametrize("fault", ["none", "refuse", "busy", "duplicate", "failure", "freeze", "abort", "lie"])
def test_a_sender_that_tries_again_satisfies_the_faulty_pacs(tmp_path: Path, fault: str) -> None:
    (path,), port = write(mr_series(head((1, 16, 16))), tmp_path), free_port()
    trying = threading.Thread(target=_send_twice, args=[scu.Address("PACS", HOST, port), path])
    trying.start()

    judgement = pacs.judge(fault, "PACS", (HOST, port), seconds=5.0 if pacs.FAULTS[fault].at_end else 20.0)

    trying.join()
    assert judgement.is_good, judgement


def test_the_faulty_pacs_speaks_tls(tmp_path: Path, authority: Authority) -> None:
    (path,), port = write(mr_series(head((1, 16, 16))), tmp_path), free_port()
    own, shown = authority.issue("pacs"), authority.issue("node_of_pacs")
    known = ClientTls(TlsFiles(shown.pem, shown.key, authority.pem))
    trying = threading.Thread(target=_send_twice, args=[scu.Address("PACS", HOST, port, known), path])
    trying.start()

    files = TlsFiles(own.pem, own.key, authority.pem)
    judgement = pacs.judge("busy", "PACS", (HOST, port), seconds=20.0, tls=ServerTls(files))

    trying.join()
    assert judgement.is_good, judgement


def test_a_silent_connection_does_not_hold_up_the_faulty_pacs(tmp_path: Path, authority: Authority) -> None:
    (path,), port = write(mr_series(head((1, 16, 16))), tmp_path), free_port()
    own = authority.issue("silent_pacs")
    to = scu.Address("PACS", HOST, port, ClientTls(TlsFiles(ca=authority.pem)))
    with ExitStack() as stack:
        trying = threading.Thread(target=_send_past_a_silent_one, args=[to, path, stack])
        trying.start()

        judgement = pacs.judge("none", "PACS", (HOST, port), 60.0, ServerTls(TlsFiles(own.pem, own.key)))

        trying.join()
    assert judgement.is_good, judgement


def _send_past_a_silent_one(to: scu.Address, path: Path, stack: ExitStack) -> None:
    wait_until(lambda: _listens(to.port), 20, "the faulty PACS listens")
    stack.enter_context(socket.create_connection((to.host, to.port)))
    scu.store(to, "NODE", path, lambda sent, _: sent, scu.Timeouts(10.0, 25.0))


def test_a_sender_that_sends_nothing_does_not() -> None:
    judgement = pacs.judge("busy", "PACS", (HOST, free_port()), seconds=1.0)

    assert not judgement.is_good


@pytest.mark.parametrize(
    ("calling", "status", "words"), [("SENDER", 0, "any status but Success"), ("STRANGER", 1, "is STRANGER a peer")]
)
def test_the_exit_status_tells_how_the_node_took_it(
    node: scu.Address, calling: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show.console, "width", 400)  # made at the first import, whose COLUMNS count

    told = CliRunner().invoke(app, ["simulate", "truncated", "--to", str(node), "--calling", calling])

    assert told.exit_code == status
    assert words in " ".join(told.stdout.split())
