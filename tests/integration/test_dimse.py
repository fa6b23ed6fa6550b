"""Listener and sender over real sockets, against DCMTK and each other."""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from factories import head, mr_series, write
from pdu import P_DATA, Raw, abort, pdu
from processes import HOST, free_port, storescp, tool
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_role
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from vb_node.dimse import door, negotiation, scp, scu
from vb_node.dimse.guard import Broken, Limits, Stop, Wire
from vb_node.dimse.message import Message
from vb_node.dimse.negotiation import Context
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
    server = scp.listen(
        "NODE",
        (HOST, 0),
        lambda _: None,
        peers=[door.Peer("SCU", hosts)],
        on_reject=lambda *words: told.append(words[0]),
    )

    with pytest.raises(scu.NotAccepted, match="rejected"):
        scu.echo(scu.Address(called, *server.address), calling)
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


def test_an_answer_that_comes_at_once_reaches_who_waits_for_it(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # two threads of pynetdicom that get no processor for a while: the one that halts, and the one that asks
    def halt(association: Association, is_paused: bool) -> None:
        time.sleep(0.0 if is_paused else 0.05)
        vars(association)["_is_paused"] = is_paused

    def get(provider: DIMSEServiceProvider, block: bool = False) -> Any:
        time.sleep(0.1 if block else 0.0)
        return get_msg(provider, block)

    get_msg = DIMSEServiceProvider.get_msg
    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", get)
    halted = property(lambda association: vars(association)["_is_paused"], halt)
    monkeypatch.setattr(Association, "_is_paused", halted, raising=False)
    port = free_port()
    server = scp.listen("NODE", (HOST, port), lambda _: None, peers=None)

    sent = list(scu.store_many(files, scu.Address("NODE", HOST, port), "SCU"))
    server.shutdown()

    assert [one.status for one in sent] == [0] * len(files)


def test_a_rejection_that_comes_at_once_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(acse: ACSE) -> None:
        send_request(acse)
        time.sleep(0.2)  # as a thread of pynetdicom that gets no processor

    send_request = ACSE.send_request
    monkeypatch.setattr(ACSE, "send_request", request)
    port = free_port()
    server = scp.listen("NODE", (HOST, port), lambda _: None, peers=[door.Peer("OTHER")])

    with pytest.raises(scu.NotAccepted, match="rejected the association"):
        scu.echo(scu.Address("NODE", HOST, port), "SCU")
    server.shutdown()


def test_a_peer_that_answers_nonsense_does_not_hold_the_sender(tmp_path: Path) -> None:
    (path,) = write(mr_series(head((1, 256, 256))), tmp_path / "files")
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=_answer_nonsense, args=(server,), daemon=True).start()
        peer = scu.Address("PACS", HOST, server.getsockname()[1])
        begun = time.monotonic()

        with pytest.raises(Later):
            scu.store(peer, "NODE", path, _never, scu.Timeouts(2.0, 2.0))

        assert time.monotonic() - begun < 20


def _answer_nonsense(server: socket.socket) -> None:
    """Accept an association as it was asked for, and answer its first message with a PDU that holds no item."""
    connection, _ = server.accept()
    with connection:
        wire = Wire(connection, Limits(), Stop())
        request = negotiation.read(wire.pdu(1 << 20)[1])
        accepted = {MRImageStorage: (ExplicitVRLittleEndian,)}
        wire.send(negotiation.acceptance(request, accepted, 1 << 17, {}))
        wire.pdu(1 << 20)
        wire.send(pdu(P_DATA, b"\xff" * 7))
        with suppress(Broken):
            while True:
                wire.pdu(1 << 20)


def test_the_end_of_an_association_is_told_with_its_instances(files: list[Path]) -> None:
    taken: list[StoreRequest] = []
    ended: list[tuple[str, bool]] = []
    server = scp.listen("NODE", (HOST, 0), taken.append, peers=None, on_end=lambda *how: ended.append(how))
    with Raw(server.address[1]) as aborting:
        aborting.associate(called=b"NODE")
        aborting.send(abort(0, 0)).ended(5)

    list(scu.store_many(files, scu.Address("NODE", *server.address), "SCU"))
    server.shutdown()

    (sender,) = {request.association_id for request in taken}
    assert [is_released for _, is_released in ended] == [False, True]
    assert ended[1][0] == sender != ended[0][0]


def test_a_peer_may_be_the_provider_of_a_further_service() -> None:
    commitment = "1.2.840.10008.1.20.1"
    reported: list[bytes] = []

    def take(report: Message, _context: Context) -> int:
        reported.append(bytes(report.data))
        return 0x0110

    server = scp.listen("NODE", (HOST, 0), lambda _: None, peers=None, services={commitment: take})
    ae = AE("PACS")
    ae.add_requested_context(commitment)
    role = build_role(commitment, scp_role=True)
    association = ae.associate(HOST, server.address[1], ae_title="NODE", ext_neg=[role])
    information = Dataset()
    information.TransactionUID = "1.2.3"

    answer, _ = association.send_n_event_report(information, 1, commitment, "1.2.840.10008.1.20.1.1")
    association.release()
    server.shutdown()

    assert answer.Status == 0x0110
    assert b"1.2.3" in reported[0]


def test_a_port_that_is_taken_is_a_matter_of_configuration() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            scp.listen("NODE", (HOST, other.getsockname()[1]), lambda _: None, peers=None)
