"""Several processes of the listener on one socket: one station, whichever of them takes a connection."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from factories import head, mr_series, write
from pdu import ASSOCIATE_AC, Raw, reject
from processes import START_S, TOML, Node, free_port, wait_until

from storage import arrivals, stations
from storage.schema import Station
from vb_node.dimse import scu

MOST = 3
PEER = f"""
[[receive.peers]]
ae_title = "LIMITED"
max_associations = {MOST}
"""
WEB = """
[web]
port = {port}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    port = free_port()
    text = TOML.format(port=port, pacs_port=free_port(), quiet_s=3600)
    text = text.replace("[receive]\n", "[receive]\nprocesses = 2\n") + PEER + WEB.format(port=free_port())
    made = Node(tmp_path_factory.mktemp("node"), text, port)
    made.start()
    wait_until(lambda: _heard(made) == 3, START_S, "both processes listen, and the pages'")
    yield made
    made.stop()


def _heard(node: Node) -> int:
    with node.database.read() as session:
        return session.query(Station).filter(Station.name.like("receive %")).count()


def _station(node: Node) -> Station:
    with node.database.read() as session:
        found = stations.get(session, "receive")
    assert found is not None
    return found


def test_processes_that_were_started_together_listen_since_the_first_of_them_does(node: Node) -> None:
    """What came to it before the other was ready was interrupted by nothing."""
    with node.database.read() as session:
        since = {row.started_at for row in session.query(Station).filter(Station.name.like("receive %"))}

    assert len(since) == 1


def test_a_peer_has_its_places_once_whichever_process_it_comes_to(node: Node) -> None:
    one, other = node.stations("receive")
    with ExitStack() as stack:
        stack.callback(one.send_signal, signal.SIGCONT)
        stack.callback(other.send_signal, signal.SIGCONT)
        _freeze(one)
        inside = [stack.enter_context(Raw(node.port)).associate(calling=b"LIMITED") for _ in range(MOST)]
        one.send_signal(signal.SIGCONT)
        _freeze(other)
        another = stack.enter_context(Raw(node.port)).associate(calling=b"LIMITED")

    assert [kind for kind, _ in inside] == [ASSOCIATE_AC] * MOST
    assert another == reject(2, 3, 2)
    wait_until(lambda: _comes_in(node), 10, "a place is free again")


def _freeze(process: psutil.Process) -> None:
    """Stop a process, and wait until each of its threads stands still: until then one may accept."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: _stands_still(process), 10, "it stands still")


def _stands_still(process: psutil.Process) -> bool:
    try:
        return all(" T " in task.read_text() for task in Path(f"/proc/{process.pid}/task").glob("*/stat"))
    except OSError:  # a thread ended meanwhile
        return False


def _comes_in(node: Node) -> bool:
    with Raw(node.port) as peer:
        return peer.associate(calling=b"LIMITED")[0] == ASSOCIATE_AC


def test_each_process_takes_its_share_of_what_comes_at_once(node: Node) -> None:
    before = _connections(node)
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(Raw(node.port)).associate()
        taken = [now - then for now, then in zip(_connections(node), before, strict=True)]

    assert min(taken) >= 2, taken


def _connections(node: Node) -> list[int]:
    """Count the connections that each process has."""
    return [
        sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == node.port for one in process.net_connections())
        for process in node.stations("receive")
    ]


def test_what_comes_over_many_associations_is_one_series(node: Node, tmp_path: Path) -> None:
    series = mr_series(head((24, 16, 16)))

    sent = list(scu.store_many(write(series, tmp_path / "files"), node.address, "SENDER", associations=6))

    assert {(one.status, one.why) for one in sent} == {(0, "")}
    wait_until(lambda: _count(node, series[0].SeriesInstanceUID) == len(series), 10, "the ledger holds all")


def _count(node: Node, series_instance_uid: str) -> int:
    with node.database.read() as session:
        return len(arrivals.instances_of_series(session, series_instance_uid))


def test_a_restart_of_one_process_interrupts_the_listener(node: Node) -> None:
    since = _station(node).started_at
    killed, other = node.stations("receive")

    killed.send_signal(signal.SIGKILL)

    wait_until(
        lambda: len({one.pid for one in node.stations("receive")} - {killed.pid}) == 2, 20, "another one listens"
    )
    wait_until(lambda: _station(node).started_at > since, 20, "the listener is said to be up since then")
    assert other.is_running()


def test_a_process_that_hangs_makes_the_listener_deaf(node: Node) -> None:
    hung, _ = node.stations("receive")
    with node.database.read() as session:
        beats = {row.name: row.beat_at for row in session.query(Station).filter(Station.name.like("receive %"))}

    wait_until(lambda: _newest_beat(node) > max(beats.values()), 30, "a beat is written, so none is being written")
    hung.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: _newest_beat(node) > max(beats.values()) + 5, 30, "the other one beats on")
        heard_at = _station(node).beat_at
    finally:
        hung.send_signal(signal.SIGCONT)
    assert heard_at < _newest_beat(node) - 2


def _newest_beat(node: Node) -> float:
    with node.database.read() as session:
        return max(row.beat_at for row in session.query(Station).filter(Station.name.like("receive %")))


def test_what_reads_and_what_computes_leave_the_processor_to_the_listener(node: Node) -> None:
    (own,) = {one.nice() for one in node.stations("receive")}
    worker = node.station("work")
    wait_until(lambda: worker.children() and worker.children()[0].nice() == own + 10, 20, "the computation gives way")

    assert node.station("assemble").nice() == own + 5
    assert {worker.nice(), node.station("deliver").nice()} == {own}
