"""Catalogue P (RELIABILITY.md section 4): the way of a result to its destination."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import freezing_peer
import numpy as np
import pytest
from factories import head, mr_series, write
from outbox import BEGIN, Outbox, drain
from pacs import BREAK_OFF, pacs, success
from processes import HOST, Orthanc, free_port, storescp, wait_until
from proxy import proxy
from pydicom.uid import SegmentationStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt

from storage import deliveries, outages
from vb_node.dimse import query, scu
from vb_node.dimse.contexts import COMPREHENSIVE_3D_SR
from vb_node.errors import Later, Unreachable
from vb_node.runtime.deliver import park_lost

pytestmark = pytest.mark.usefixtures("sender")

RESULTS = int(os.environ.get("VB_NODE_P01_RESULTS", "40"))  # the catalogue asks for 500: docs/reliability.md
SILENCE_S = 5.0  # of a peer that answers nothing at all
SHORT = scu.Timeouts(connect_s=2.0, answer_s=2.0)
FREED_S = 30.0  # the goal (G12); a loaded machine takes its time


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return write(mr_series(head((1, 256, 256))), tmp_path / "files")[0]


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    """An instance that no buffer of the network takes whole."""
    return write(mr_series(np.zeros((1, 2048, 2048))), tmp_path / "files")[0]


def _never(path: Path, _sop_class_uid: str) -> Path:
    pytest.fail(f"{path} needs no other class")


@contextmanager
def freezing(moment: str) -> Iterator[int]:
    with freezing_process(moment) as (port, _):
        yield port


@contextmanager
def freezing_process(moment: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    peer = subprocess.Popen([sys.executable, freezing_peer.__file__, str(port), moment])
    try:
        wait_until(lambda: _listens(port), 20, "the peer listens")
        yield port, peer
    finally:
        peer.kill()
        peer.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.mark.parametrize("moment", [moment for moment in freezing_peer.MOMENTS if moment != "release"])
def test_p_02_a_frozen_pacs_frees_the_sender(heavy: Path, moment: str) -> None:
    with freezing(moment) as port:
        begun = time.monotonic()
        with pytest.raises(Later):
            scu.store(scu.Address("PACS", HOST, port), "NODE", heavy, _never, SHORT)

        assert time.monotonic() - begun < FREED_S


def test_p_02_a_pacs_that_freezes_at_release_has_answered(instance: Path) -> None:
    with freezing("release") as port:
        begun = time.monotonic()
        status = scu.store(scu.Address("PACS", HOST, port), "NODE", instance, _never, SHORT)

        assert status == 0
        assert SHORT.answer_s < time.monotonic() - begun < FREED_S


def test_p_02_a_host_that_takes_no_connection_frees_the_sender(instance: Path) -> None:
    with socket.create_server((HOST, 0), backlog=0) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            scu.store(scu.Address("PACS", HOST, address[1]), "NODE", instance, _never, SHORT)

        assert time.monotonic() - begun < FREED_S
        for one in crowd:
            one.close()


def test_p_10_a_slow_link_that_moves_is_waited_for(instance: Path, tmp_path: Path) -> None:
    port = free_port()
    with storescp(tmp_path / "pacs", port) as pacs, proxy(port, bytes_s=30_000) as slow:
        status = scu.store(scu.Address("PACS", HOST, slow.port), "NODE", instance, _never, SHORT)

        assert instance.stat().st_size / 30_000 > SHORT.answer_s
        assert (status, len(list(pacs.iterdir()))) == (0, 1)


def test_p_02_a_pacs_that_froze_in_mid_association_is_down_until_it_answers_again(outbox: Outbox) -> None:
    for number in range(2):
        outbox.finish_job("pacs", series=f"1.2.{number}")
    with freezing_process("answer") as (port, peer):
        deliverer = outbox.deliverer(port=port, timeout_s=SILENCE_S)
        drain(deliverer, BEGIN)
        drain(deliverer, BEGIN + 120)
        frozen = sum(delivery.attempts for delivery in outbox.deliveries()), outbox.states()
        peer.send_signal(signal.SIGCONT)
        drain(deliverer, BEGIN + 240)

    assert frozen == (1, ["retry", "pending", "pending", "pending"])
    assert outbox.states() == ["sent"] * 4
    assert [len(outbox.events(f"destination {word}")) for word in ("down", "up")] == [1, 1]


def test_p_01_after_a_day_of_outage_all_results_are_there_in_order_and_none_is_parked(outbox: Outbox) -> None:
    port = free_port()
    expected = [uid for number in range(RESULTS // 2) for uid in outbox.finish_job("pacs", series=f"1.2.{number}")]
    deliverer = outbox.deliverer(port=port)
    for minute in range(0, 24 * 60, 60):
        drain(deliverer, BEGIN + 60 * minute)
    attempts = sum(delivery.attempts for delivery in outbox.deliveries())
    with pacs(port=port) as back:
        drain(deliverer, BEGIN + 24 * 3600)

    assert attempts == 1
    assert set(outbox.states()) == {"sent"}
    assert back.came == expected
    assert [event.event for event in outbox.events("destination down") + outbox.events("destination up")] == [
        "destination down",
        "destination up",
    ]


def test_p_01_while_a_destination_is_down_one_probe_a_minute_is_all_it_sees(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    port = free_port()
    deliverer = outbox.deliverer(port=port)
    drain(deliverer, BEGIN)
    with pacs(port=port) as back:
        for second in range(1, 60):
            deliverer.step(BEGIN + second)
        seen_before = back.echoes
        drain(deliverer, BEGIN + 70)

    assert (seen_before, back.echoes, len(back.came)) == (0, 1, 2)


def test_p_01_patience_ends_parked_also_while_the_destination_is_down(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    deliverer = outbox.deliverer(port=free_port())
    for hour in range(0, 74, 8):
        drain(deliverer, BEGIN + 3600 * hour)

    assert outbox.states() == ["parked", "parked"]


def test_p_03_what_got_through_before_the_break_is_found_and_not_sent_again(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with pacs(lambda _: BREAK_OFF) as peer:
        deliverer = outbox.deliverer(port=peer.port)
        drain(deliverer, BEGIN)
        was = outbox.states()
        drain(deliverer, BEGIN + 60)

    assert (was, outbox.states()) == (["retry"], ["sent"])
    assert peer.came == [uid]
    assert "found by query" in (outbox.deliveries()[0].detail or "")


def test_p_03_what_did_not_get_through_is_sent_again_under_its_uid(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with pacs(lambda _: BREAK_OFF) as peer:
        deliverer = outbox.deliverer(port=peer.port)
        drain(deliverer, BEGIN)
        peer.stored.clear()
        peer.answer = success
        drain(deliverer, BEGIN + 60)

    assert outbox.states() == ["sent"]
    assert (peer.came, peer.stored) == ([uid, uid], [uid])


def test_p_03_a_report_that_went_as_another_class_is_looked_for_under_that_instance(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False, report_class=COMPREHENSIVE_3D_SR)
    with pacs(lambda _: BREAK_OFF, without=[COMPREHENSIVE_3D_SR]) as peer:
        deliverer = outbox.deliverer(port=peer.port)
        drain(deliverer, BEGIN)
        drain(deliverer, BEGIN + 60)

    (delivery,) = outbox.deliveries()
    assert (delivery.state, peer.came) == ("sent", [delivery.sent_sop_instance_uid])
    assert delivery.sent_sop_instance_uid != uid


def test_p_03_without_a_query_the_same_uid_goes_again(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with pacs(lambda _: BREAK_OFF) as peer:
        deliverer = outbox.deliverer(port=peer.port, query=False)
        drain(deliverer, BEGIN)
        peer.answer = success
        drain(deliverer, BEGIN + 60)

    assert (outbox.states(), peer.came) == (["sent"], [uid, uid])


def test_p_03_an_answer_lost_on_the_way_is_made_good(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with pacs() as peer, proxy(peer.port, loses_answer=True) as lossy:
        deliverer = outbox.deliverer(port=lossy.port, timeout_s=SILENCE_S)
        drain(deliverer, BEGIN)
        was = outbox.states()
        lossy.loses_answer = False
        drain(deliverer, BEGIN + 60)

    assert (was, outbox.states(), peer.stored) == (["retry"], ["sent"], [uid])


def test_p_03_a_pacs_that_breaks_off_where_it_is_only_asked_whether_it_is_there_gets_the_rest(outbox: Outbox) -> None:
    first, *rest = outbox.finish_job("pacs") + outbox.finish_job("pacs", series="1.2.4")
    breaks = iter([BREAK_OFF])
    with pacs(lambda uid: next(breaks, 0) if uid == first else 0) as peer:
        peer.breaks_off_echoes = True
        for later in (0, 60):
            drain(outbox.deliverer(port=peer.port), BEGIN + later)

    assert outbox.states() == ["sent"] * 4
    assert set(peer.stored) == {first, *rest}
    assert outbox.events("destination down") == []


def test_p_01_an_outage_ends_though_the_pacs_breaks_off_each_probe(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    port = free_port()
    drain(outbox.deliverer(port=port), BEGIN)
    was = outbox.events("destination down")
    with pacs(port=port) as peer:
        peer.breaks_off_echoes = True
        for later in (70, 140):
            drain(outbox.deliverer(port=port), BEGIN + later)

    assert (len(was), outbox.states()) == (1, ["sent"] * 2)


def test_p_02_what_takes_a_pacs_down_each_time_does_not_hold_up_the_rest(outbox: Outbox) -> None:
    """It keeps its turn when the PACS is back, and what waits goes before it."""
    bad = outbox.finish_job("pacs", pair=False)[0]
    good = [outbox.finish_job("pacs", series=f"1.2.{number}", pair=False)[0] for number in range(3)]
    with outbox.database.write() as session:
        claimed = deliveries.claim(session, "pacs", lease_s=60.0, now=BEGIN)
        assert claimed is not None
        deliveries.settle(session, claimed[1], deliveries.Told("unsure"), now=BEGIN, patience_s=3600.0)
        outages.keep(session, "pacs", "silent", now=BEGIN)
        outages.end(session, "pacs", now=BEGIN + 1)
        due = [deliveries.claim(session, "pacs", lease_s=60.0, now=BEGIN + 2) for _ in range(4)]

    assert [one and one[0].sop_instance_uid for one in due] == [*good, None]
    assert outbox.deliveries()[0].sop_instance_uid == bad


def test_p_03_a_sender_that_died_in_between_asks_before_it_sends_again(outbox: Outbox) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with outbox.database.write() as session:
        deliveries.claim(session, "pacs", lease_s=60.0, now=BEGIN)
    with pacs() as peer:
        peer.stored.append(uid)
        drain(outbox.deliverer(port=peer.port), BEGIN + 61)

    assert (outbox.states(), peer.came) == (["sent"], [])


def test_p_03_orthanc_is_asked_at_image_level(outbox: Outbox, tmp_path: Path) -> None:
    sent, other = outbox.finish_job("pacs")
    orthanc = Orthanc(tmp_path / "orthanc", free_port(), free_port())
    orthanc.start()
    orthanc.put("/modalities/node", {"AET": "NODE", "Host": HOST, "Port": free_port()})
    peer = scu.Address("PACS", HOST, orthanc.port)
    try:
        scu.store(peer, "NODE", outbox.results / f"{sent}.dcm", _never)

        found = [query.holds(peer, "NODE", query.Wanted("1.2", "1.2.3.1.0", uid), SHORT) for uid in (sent, other)]
    finally:
        orthanc.stop()

    assert found == [True, False]


@pytest.mark.parametrize(
    ("status", "states"),
    [
        (0x0000, ["sent"] * 3),
        (0xB000, ["sent"] * 3),
        (0xB006, ["sent"] * 3),
        (0xB007, ["sent"] * 3),
        (0xA700, ["retry", "retry", "sent"]),
        (0x0110, ["retry", "retry", "sent"]),
        (0x0213, ["retry", "retry", "sent"]),
        (0xA900, ["retry", "retry", "parked"]),
        (0xC000, ["retry", "retry", "parked"]),
        (0x0117, ["retry", "retry", "parked"]),
        (0x0122, ["retry", "retry", "parked"]),
        (0x0124, ["retry", "retry", "parked"]),
        (0x1234, ["retry", "retry", "parked"]),
        (0x0111, ["parked"] * 3),
        (BREAK_OFF, ["retry", "sent", "sent"]),
    ],
)
def test_p_04_each_status_has_its_way(outbox: Outbox, status: int, states: list[str]) -> None:
    """The peer takes what is tried again for a passing reason at the third time; after a break it is asked."""
    outbox.finish_job("pacs", pair=False)
    passing = {0xA700, 0x0110, 0x0213}
    seen = []
    with pacs(lambda _: status if len(peer.came) < 2 or status not in passing else 0) as peer:
        deliverer = outbox.deliverer(port=peer.port)
        for hour in range(3):
            drain(deliverer, BEGIN + 3601 * hour)
            seen += outbox.states()

    assert seen == states


def test_p_04_a_transient_rejection_is_an_outage_and_no_try_is_lost(outbox: Outbox) -> None:
    outbox.finish_job("pacs", pair=False)
    port = free_port()
    with scp_that_rejects(port):
        deliverer = outbox.deliverer(port=port)
        drain(deliverer, BEGIN)
    with pacs(port=port):
        drain(deliverer, BEGIN + 70)

    assert (outbox.states(), len(outbox.events("destination down"))) == (["sent"], 1)


@contextmanager
def scp_that_rejects(port: int) -> Iterator[None]:
    def reject(event: evt.Event) -> None:
        event.assoc.acse.send_reject(0x02, 0x03, 0x01)
        event.assoc.kill()

    ae = AE(ae_title="PACS")
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server((HOST, port), block=False, evt_handlers=[(evt.EVT_REQUESTED, reject)])
    yield
    server.shutdown()


@pytest.mark.parametrize(
    ("can_query", "is_there", "state"), [(True, True, "sent"), (True, False, "parked"), (False, True, "parked")]
)
def test_p_04_a_duplicate_is_settled_by_a_query(outbox: Outbox, can_query: bool, is_there: bool, state: str) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    with pacs(lambda _: 0x0111) as peer:
        peer.stored += [uid] if is_there else []
        drain(outbox.deliverer(port=peer.port, query=can_query), BEGIN)

    assert outbox.states() == [state]


def test_p_05_where_only_seg_is_refused_the_report_goes_and_the_seg_is_parked_with_words(outbox: Outbox) -> None:
    segmentation, report = outbox.finish_job("pacs")
    with pacs(without=[SegmentationStorage]) as peer:
        deliverer = outbox.deliverer(port=peer.port)
        for hour in range(3):
            drain(deliverer, BEGIN + 3601 * hour)

    assert outbox.states() == ["parked", "sent"]
    assert (segmentation in peer.came, peer.stored) == (False, [report])
    assert "presentation contexts" in (outbox.deliveries()[0].detail or "")


def test_p_09_a_destination_that_is_down_does_not_hold_up_another(outbox: Outbox) -> None:
    outbox.finish_job("pacs", "research")
    with freezing("negotiation") as frozen, pacs() as peer:
        slow = threading.Thread(target=outbox.deliverer(port=frozen, timeout_s=SILENCE_S).step, args=(BEGIN,))
        slow.start()
        drain(outbox.deliverer("research", port=peer.port), BEGIN)
        was_waiting = slow.is_alive()
        slow.join()

    assert was_waiting
    assert (outbox.states("research"), outbox.states("pacs")) == (["sent", "sent"], ["retry", "pending"])


def test_p_11_what_waits_for_a_destination_that_is_gone_is_parked_with_words(outbox: Outbox) -> None:
    outbox.finish_job("pacs", "old")

    park_lost(outbox.database, ["pacs"], BEGIN)

    assert (outbox.states("old"), outbox.states("pacs")) == (["parked", "parked"], ["pending", "pending"])
    assert "not in the configuration" in (outbox.deliveries("old")[0].detail or "")


def test_p_12_a_result_superseded_before_it_was_sent_is_not_sent(outbox: Outbox) -> None:
    outbox.finish_job("pacs")
    later = outbox.finish_job("pacs", now=BEGIN + 10)
    with pacs() as peer:
        drain(outbox.deliverer(port=peer.port), BEGIN + 20)

    assert outbox.states() == ["superseded", "superseded", "sent", "sent"]
    assert peer.came == later
    assert len(outbox.events("delivery superseded")) == 2


def test_p_10_a_slow_link_does_not_hold_up_another_destination(outbox: Outbox, tmp_path: Path) -> None:
    outbox.finish_job("pacs", "research")
    with pacs() as far, pacs() as near, proxy(far.port, bytes_s=100) as slow:
        waiting = threading.Thread(target=drain, args=(outbox.deliverer(port=slow.port), BEGIN))
        waiting.start()
        wait_until(lambda: "sending" in outbox.states("pacs"), 20, "the slow one is being sent to")
        drain(outbox.deliverer("research", port=near.port), BEGIN)
        states = outbox.states("research"), outbox.states("pacs")
        slow.hurries.set()
        waiting.join()

    assert states == (["sent", "sent"], ["sending", "pending"])
    assert outbox.states("pacs") == ["sent", "sent"]
