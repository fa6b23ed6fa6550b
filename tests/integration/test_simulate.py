"""The faulty sender against our own listener and DCMTK's, the faulty PACS against our sender."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import head, mr_series, write
from processes import HOST, free_port, storescp, tool, wait_until
from typer.testing import CliRunner

from vb_node import show
from vb_node.cli import app
from vb_node.dimse import scu
from vb_node.errors import Later
from vb_node.simulate import pacs, sender, series

TOML = """\
[receive]
port = {port}
[[receive.peers]]
ae_title = "SENDER"
hosts = ["127.0.0.1"]
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scu.Address]:
    """Run our listener alone."""
    home, port = tmp_path_factory.mktemp("node"), free_port()
    (home / "node.toml").write_text(TOML.format(port=port))
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(home / "node.toml"), "--only", "receive"]
    address = scu.Address("VBNODE", HOST, port)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
        wait_until(sender.Target(address, "SENDER").echoes, 60, "the listener answers")
        yield address
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("fault", sender.FAULTS)
def test_our_listener_takes_every_fault_well(node: scu.Address, fault: str) -> None:
    judgement = sender.judge(fault, node, "SENDER")

    assert judgement.is_good, judgement


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


def _send_twice(port: int, path: Path) -> None:
    wait_until(lambda: _listens(port), 20, "the faulty PACS listens")
    for _ in range(2):
        try:
            scu.store(scu.Address("PACS", HOST, port), "NODE", path, lambda sent, _: sent, scu.Timeouts(5.0, 3.0))
        except (Later, scu.NotAccepted):
            continue


@pytest.mark.parametrize("fault", ["none", "refuse", "busy", "duplicate", "failure", "freeze", "abort", "lie"])
def test_a_sender_that_tries_again_satisfies_the_faulty_pacs(tmp_path: Path, fault: str) -> None:
    (path,), port = write(mr_series(head((1, 16, 16))), tmp_path), free_port()
    trying = threading.Thread(target=_send_twice, args=[port, path])
    trying.start()

    judgement = pacs.judge(fault, "PACS", (HOST, port), seconds=5.0 if pacs.FAULTS[fault].at_end else 20.0)

    trying.join()
    assert judgement.is_good, judgement


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
