"""Catalogue P-06 and P-07: storage commitment of results, against Orthanc and a PACS of pynetdicom."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from outbox import BEGIN, Outbox, drain
from pacs import Pacs, pacs
from processes import HOST, Node, Orthanc, free_port, wait_until
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from storage.commitments import MOST_REQUESTS, REPORT_WAIT_S
from storage.database import Database
from vb_node.config import build
from vb_node.dimse import commitment, door, scp, scu
from vb_node.errors import ConfigError
from vb_node.runtime import commit


@contextmanager
def listening(database: Database) -> Iterator[int]:
    """The node's listener, as after a restart: it knows what the ledger knows."""
    port = free_port()
    taker = commit.taker(database, lambda: BEGIN + 500)
    services = commitment.services(taker)
    server = scp.listen("NODE", (HOST, port), lambda _: None, peers=[door.Peer("PACS", (HOST,))], services=services)
    yield port
    server.shutdown()


def _send(outbox: Outbox, peer: Pacs, now: float = BEGIN) -> None:
    """Send what is due, and ask for commitment."""
    deliverer = outbox.deliverer(port=peer.port, commitment=True)
    for later in (0, 60):
        drain(deliverer, now + later)


def test_p_07_orthanc_commits_itself_and_the_results_are_committed(outbox: Outbox, tmp_path: Path) -> None:
    outbox.finish_job("pacs")
    orthanc = Orthanc(tmp_path / "orthanc", free_port(), free_port())
    with listening(outbox.database) as port:
        orthanc.start()
        node = {"AET": "NODE", "Host": HOST, "Port": port, "AllowStorageCommitment": True}
        orthanc.put("/modalities/node", node)
        deliverer = outbox.deliverer(port=orthanc.port, commitment=True, timeout_s=10.0)
        for later in (0, 60):
            drain(deliverer, BEGIN + later)
        wait_until(lambda: outbox.states() == ["committed", "committed"], 20, "Orthanc's report is in the ledger")
        orthanc.stop()

    assert len(outbox.events("delivery committed")) == 2


def test_p_07_one_transaction_asks_for_all_of_a_job(outbox: Outbox) -> None:
    uids = outbox.finish_job("pacs")
    with pacs() as peer:
        _send(outbox, peer)

    (asked,) = peer.asked
    assert [item.ReferencedSOPInstanceUID for item in asked.ReferencedSOPSequence] == uids
    assert {delivery.transaction_uid for delivery in outbox.deliveries()} == {asked.TransactionUID}


def test_p_07_a_report_on_the_association_of_the_request_is_taken(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "LINGER_S", 10.0)  # what a busy machine may need
    outbox.finish_job("pacs")
    with pacs() as peer:
        peer.reports_at_once = True
        _send(outbox, peer)

    assert outbox.states() == ["committed", "committed"]


def test_p_07_a_report_on_another_association_after_a_restart_is_taken(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer:
        _send(outbox, peer)
        was = outbox.states()
        with listening(outbox.database) as port:
            status = peer.report(port, peer.outcome())

    assert (was, status, outbox.states()) == (["sent", "sent"], 0x0000, ["committed", "committed"])


def test_p_07_a_report_that_comes_twice_is_answered_and_changes_nothing(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer, listening(outbox.database) as port:
        _send(outbox, peer)
        statuses = [peer.report(port, peer.outcome()) for _ in range(2)]

    assert statuses == [0x0000, 0x0000]
    assert len(outbox.events("delivery committed")) == 2


def test_p_07_an_unknown_transaction_is_answered_processing_failure(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer, listening(outbox.database) as port:
        _send(outbox, peer)
        report = peer.outcome()
        report.TransactionUID = generate_uid()
        status = peer.report(port, report)

    assert (status, outbox.states()) == (0x0110, ["sent", "sent"])


def test_p_06_what_a_lying_pacs_did_not_keep_is_found_and_sent_again(outbox: Outbox) -> None:
    uids = outbox.finish_job("pacs")
    with pacs() as peer, listening(outbox.database) as port:
        peer.is_liar = True
        _send(outbox, peer)
        peer.report(port, peer.outcome())
        was = outbox.states()
        peer.is_liar = False
        _send(outbox, peer, BEGIN + 600)
        peer.report(port, peer.outcome())

    transactions = [asked.TransactionUID for asked in peer.asked]
    assert (was, outbox.states()) == (["pending", "pending"], ["committed", "committed"])
    assert (peer.came, len(set(transactions))) == (uids * 2, 2)


def test_p_06_a_pacs_that_goes_on_lying_is_shown_to_a_person(outbox: Outbox) -> None:
    outbox.finish_job("pacs", pair=False)
    with pacs() as peer, listening(outbox.database) as port:
        peer.is_liar = True
        for turn in range(MOST_REQUESTS + 1):
            _send(outbox, peer, BEGIN + 600 * turn)
            peer.report(port, peer.outcome())

    assert (outbox.states(), len(peer.asked), len(peer.came)) == (["parked"], MOST_REQUESTS, MOST_REQUESTS)
    assert "does not keep it (0112, no such object instance)" in (outbox.deliveries()[0].detail or "")


def test_p_07_only_the_failed_instance_goes_again(outbox: Outbox) -> None:
    segmentation, report = outbox.finish_job("pacs")
    with pacs() as peer, listening(outbox.database) as port:
        _send(outbox, peer)
        peer.stored.remove(segmentation)
        peer.report(port, peer.outcome())
        was = outbox.states()
        _send(outbox, peer, BEGIN + 600)

    assert was == ["pending", "committed"]
    assert peer.came == [segmentation, report, segmentation]


def test_p_07_a_report_that_never_comes_is_asked_for_again_then_shown(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer:
        for turn in range(MOST_REQUESTS + 1):
            _send(outbox, peer, BEGIN + turn * (REPORT_WAIT_S + 100))

    assert len({asked.TransactionUID for asked in peer.asked}) == MOST_REQUESTS
    assert outbox.states() == ["parked", "parked"]
    assert "brought no report" in (outbox.deliveries()[0].detail or "")


def test_p_07_a_report_later_than_that_still_counts(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer, listening(outbox.database) as port:
        for turn in range(MOST_REQUESTS + 1):
            _send(outbox, peer, BEGIN + turn * (REPORT_WAIT_S + 100))
        status = peer.report(port, peer.outcome(0))

    assert (status, outbox.states()) == (0x0000, ["committed", "committed"])


def test_p_07_a_refused_request_is_made_again_an_hour_later(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    with pacs() as peer:
        peer.action_status = 0x0213
        _send(outbox, peer)
        peer.action_status = 0
        peer.reports_at_once = True
        _send(outbox, peer, BEGIN + 3700)

    assert (len(peer.asked), outbox.states()) == (2, ["committed", "committed"])


def test_p_07_the_node_commits_itself_to_nothing(outbox: Outbox) -> None:
    """A modality may delete what an archive has committed itself to: the node is none."""
    with listening(outbox.database) as port:
        wanted = Dataset()
        wanted.TransactionUID = generate_uid()
        ae = AE(ae_title="PACS")
        ae.add_requested_context(commitment.CLASS_UID)
        association = ae.associate(HOST, port, ae_title="NODE")
        answer, _ = association.send_n_action(wanted, 1, commitment.CLASS_UID, commitment.INSTANCE_UID)
        association.release()

    assert answer.Status == commitment.NO_SUCH_ACTION


NODE = """\
[node]
ae_title = "NODE"

[receive]
port = {port}

[[receive.peers]]
ae_title = "PACS"

[[receive.peers]]
ae_title = "SENDER"

[[routes]]
name = "virtual-biopsy"
destinations = ["pacs"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {pacs_port}
commitment = true
"""


def test_p_07_a_running_node_sends_asks_and_takes_the_report(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "data")
    uids = outbox.finish_job("pacs")
    with pacs() as peer:
        port = free_port()
        node = Node(tmp_path, NODE.format(port=port, pacs_port=peer.port), port)
        node.address = scu.Address("NODE", HOST, port)
        node.start()
        try:
            wait_until(lambda: len(peer.asked) == 1, 30, "the node asks for storage commitment")
            status = peer.report(port, peer.outcome())
        finally:
            node.stop()

    assert (peer.came, status, outbox.states()) == (uids, 0x0000, ["committed", "committed"])


def test_a_destination_with_commitment_must_be_a_known_peer() -> None:
    destination = {"name": "pacs", "ae_title": "PACS", "commitment": True}

    with pytest.raises(ConfigError, match=r"receive\.peers"):
        build({"destinations": [destination]})

    build({"destinations": [destination], "receive": {"peers": [{"ae_title": "PACS"}]}})
