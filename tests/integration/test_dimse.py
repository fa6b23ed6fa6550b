"""Listener and sender over real sockets, against DCMTK and each other."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from factories import head, mr_series, write
from processes import HOST, free_port, storescp, tool
from pydicom import dcmread

from vb_node.dimse import door, scp, scu
from vb_node.dimse.scp import StoreRequest
from vb_node.errors import ConfigError, Later, Refused


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(mr_series(head((4, 20, 24))), tmp_path / "files")


def _never(path: Path, _sop_class_uid: str) -> Path:
    pytest.fail(f"{path} needs no other class")


def test_dcmtk_stores_and_echoes(files: list[Path]) -> None:
    taken: list[StoreRequest] = []
    port = free_port()
    server = scp.listen("NODE", (HOST, port), taken.append, peers=[door.Peer("SCU", (HOST,))])

    echo = subprocess.run([tool("echoscu"), "-aet", "SCU", "-aec", "NODE", HOST, str(port)], check=False)
    store = subprocess.run(
        [tool("storescu"), "-aet", "SCU", "-aec", "NODE", HOST, str(port), *map(str, files)], check=False
    )
    server.shutdown()

    assert (echo.returncode, store.returncode) == (0, 0)
    assert {request.sop_instance_uid for request in taken} == {path.stem for path in files}


@pytest.mark.parametrize(
    ("calling", "called", "hosts"),
    [("OTHER", "NODE", (HOST,)), ("SCU", "OTHER", (HOST,)), ("SCU", "NODE", ("10.0.0.1",))],
)
def test_who_is_no_peer_is_rejected_and_told_of(calling: str, called: str, hosts: tuple[str, ...]) -> None:
    told: list[str] = []
    port = free_port()
    server = scp.listen(
        "NODE",
        (HOST, port),
        lambda _: None,
        peers=[door.Peer("SCU", hosts)],
        on_reject=lambda *words: told.append(words[0]),
    )

    with pytest.raises(scu.NotAccepted, match="rejected"):
        scu.echo(scu.Address(called, HOST, port), calling)
    server.shutdown()

    assert told == [calling]


def test_a_refusal_reaches_the_sender_as_its_status(files: list[Path]) -> None:
    def refuse(_request: StoreRequest) -> None:
        raise Refused("known with other content", 0x0111)

    port = free_port()
    server = scp.listen("NODE", (HOST, port), refuse, peers=None)

    status = scu.store(scu.Address("NODE", HOST, port), "SCU", files[0], _never)
    server.shutdown()

    assert status == 0x0111


def test_a_bug_in_the_store_is_answered_out_of_resources_not_success(files: list[Path]) -> None:
    def fail(_request: StoreRequest) -> None:
        raise KeyError

    port = free_port()
    server = scp.listen("NODE", (HOST, port), fail, peers=None)

    status = scu.store(scu.Address("NODE", HOST, port), "SCU", files[0], _never)
    server.shutdown()

    assert status == 0xA700


def test_the_sender_sends_to_dcmtk_what_the_file_holds(files: list[Path], tmp_path: Path) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port) as pacs:
        status = scu.store(scu.Address("PACS", HOST, port), "NODE", files[0], _never)

        (received,) = list(pacs.iterdir())
        assert status == 0
        assert dcmread(received).PixelData == dcmread(files[0]).PixelData


def test_many_files_go_over_several_associations(files: list[Path], tmp_path: Path) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port) as pacs:
        sent = list(scu.store_many(files, scu.Address("PACS", HOST, port), "NODE", associations=3))

        assert [one.status for one in sent] == [0] * len(files)
        assert len(list(pacs.iterdir())) == len(files)


def test_a_peer_that_is_not_there_is_tried_later(files: list[Path]) -> None:
    with pytest.raises(Later, match="cannot be reached"):
        scu.store(scu.Address("PACS", HOST, free_port()), "NODE", files[0], _never)


def test_a_frozen_peer_does_not_hold_the_sender(files: list[Path], tmp_path: Path) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port):
        frozen = int(subprocess.check_output(["pgrep", "-f", f"storescp.* {port}$"]).split()[0])
        os.kill(frozen, signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(Later):
            scu.store(scu.Address("PACS", HOST, port), "NODE", files[0], _never, scu.Timeouts(2.0, 2.0))

        assert time.monotonic() - begun < 20
        os.kill(frozen, signal.SIGCONT)


def test_a_port_that_is_taken_is_a_matter_of_configuration() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            scp.listen("NODE", (HOST, other.getsockname()[1]), lambda _: None, peers=None)
