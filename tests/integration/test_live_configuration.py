"""Another configuration for a node that runs: nobody who sends notices, and what does not work is taken back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from certificates import Authority
from listener_process import instance
from pdu import ASSOCIATE_AC, ASSOCIATE_RJ, Raw, store_rq
from processes import TOML, Node, free_port, wait_until

from storage import stations
from storage.schema import Association
from vb_node.reconfigure import APPLIED, REFUSED, TAKEN_BACK

WITHIN_S = 60.0
WEB = "\n[web]\nport = {port}\n"
DELIVER_READY = '"event": "station ready", "station": "deliver"'
NOT_STARTED = "station not started, tried again"
STANDARD_STREAMS = (0, 1, 2)
NEW_PEER = '\n[[receive.peers]]\nae_title = "NEW"\n'


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    port = free_port()
    text = TOML.format(port=port, pacs_port=free_port(), quiet_s=3600)
    made = Node(tmp_path_factory.mktemp("node"), text, port)
    made.start()
    yield made
    made.stop()


def _apply(node: Node, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    new = node.home / "new.toml"
    new.write_text(text)
    command = [sys.executable, "-m", "vb_node", "config", "apply", str(new), "--config", str(node.config), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _store(peer: Raw) -> int:
    dataset = instance()
    return peer.send(*store_rq(dataset, dataset.SOPClassUID, dataset.SOPInstanceUID)).status()


def _said(node: Node, words: str) -> int:
    """Count in the node's log."""
    return (node.home / "node.log").read_text().count(words)


def _heard(node: Node, name: str) -> set[str]:
    """Name the processes of a station of which the ledger says that they live."""
    with node.database.read() as session:
        return {one.name for one in stations.listing(session) if one.name.partition(" ")[0] == name}


def _pids(node: Node, name: str) -> set[int]:
    return {process.pid for process in node.stations(name)}


def test_a_new_peer_is_let_in_while_an_open_association_goes_on(node: Node) -> None:
    text = node.config.read_text()
    workers, former = _pids(node, "work"), _pids(node, "receive")

    with Raw(node.port) as sender:
        sender.associate(calling=b"SENDER")
        before = _store(sender)
        with Raw(node.port) as stranger:
            refused, _ = stranger.associate(calling=b"NEW")
        applied = _apply(node, text + NEW_PEER)
        with Raw(node.port) as newcomer:
            accepted, _ = newcomer.associate(calling=b"NEW")
            assert accepted == ASSOCIATE_AC
            first = _store(newcomer)
        after = _store(sender)

    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "receive.peers[NEW].ae_title" in applied.stdout
    assert refused == ASSOCIATE_RJ
    assert (before, first, after) == (0, 0, 0)
    assert _pids(node, "work") == workers
    wait_until(lambda: not _pids(node, "receive") & former, WITHIN_S, "the former listener has left")
    (line,) = node.events(event=APPLIED)
    assert {one["key"] for one in line.details["changes"]} == {
        "receive.peers[NEW].ae_title",
        "receive.peers[NEW].hosts",
    }
    (asked,) = node.events(event="configuration change asked")
    assert asked.user


def test_what_a_listener_has_open_that_leaves_and_dies_is_ended(node: Node) -> None:
    text, former = node.config.read_text(), node.stations("receive")

    with Raw(node.port) as sender:
        sender.associate(calling=b"SENDER")
        dataset = instance()
        answer = sender.send(*store_rq(dataset, dataset.SOPClassUID, dataset.SOPInstanceUID)).status()
        applied = _apply(node, text + '\n[[receive.peers]]\nae_title = "ANOTHER"\n')
        wait_until(lambda: _still_open(node) == 1, WITHIN_S, "the association is in the ledger")
        for one in former:
            if one.is_running():
                one.kill()
        wait_until(lambda: _still_open(node) == 0, WITHIN_S, "it has an end")
    _apply(node, text)

    assert (answer, applied.returncode) == (0, 0)


def _still_open(node: Node) -> int:
    with node.database.read() as session:
        return session.query(Association).filter(Association.ended_at.is_(None)).count()


def test_a_station_holds_no_lock_and_no_listening_socket_but_its_own(node: Node) -> None:
    listening, files = {}, []
    for name in ("receive", "assemble", "work", "deliver", "retain"):
        station = node.stations(name)[0]
        found = station.net_connections("tcp")
        listening[name] = {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
        files += [file.path for file in station.open_files()]

    assert listening == {"receive": {node.port}, "assemble": set(), "work": set(), "deliver": set(), "retain": set()}
    assert not [path for path in files if path.endswith("node.pid")]


def test_r_14_a_supervisor_that_can_start_no_process_goes_on_and_starts_it_when_it_can(node: Node) -> None:
    supervisor = psutil.Process(node.supervisor)
    former_limits = supervisor.rlimit(psutil.RLIMIT_NOFILE)

    supervisor.rlimit(psutil.RLIMIT_NOFILE, (len(STANDARD_STREAMS), former_limits[1]))
    try:
        node.station("deliver").kill()
        wait_until(lambda: _said(node, NOT_STARTED), WITHIN_S, "told")
        others = node.answers(), len(node.stations("work")), node.stations("deliver")
    finally:
        supervisor.rlimit(psutil.RLIMIT_NOFILE, former_limits)

    assert others == (True, 1, [])
    wait_until(lambda: node.stations("deliver"), WITHIN_S, "the station is started again")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Node, Path]]:
    """Give a node that sends over TLS, and the certificate that its destination's must be signed by."""
    ca = Authority(tmp_path / "ca").pem
    port = free_port()
    text = TOML.format(port=port, pacs_port=free_port(), quiet_s=3600)
    made = Node(tmp_path, text + f'\n[destinations.tls]\nca = "{ca}"\n', port)
    made.start()
    yield made, ca
    made.stop()


def test_a_certificate_that_somebody_breaks_stops_no_station_but_its_own(secured: tuple[Node, Path]) -> None:
    node, ca = secured
    pem, text = ca.read_text(), node.config.read_text()
    wait_until(lambda: _said(node, DELIVER_READY), WITHIN_S, "it works")
    ca.write_text("no certificate")

    node.station("deliver").kill()
    wait_until(lambda: _said(node, "station died") > 2, WITHIN_S, "tried again")
    after_its_death = node.answers(), len(node.stations("work"))
    changed = _apply(node, text.replace('name = "pacs"\n', 'name = "pacs"\nretry_for_h = 71\n'), "--anyway")
    after_a_change, ready = (node.answers(), len(node.stations("work"))), _said(node, DELIVER_READY)
    ca.write_text(pem)
    wait_until(lambda: _said(node, DELIVER_READY) > ready, WITHIN_S, "its station works again")

    assert after_its_death == after_a_change == (True, 1)
    assert TAKEN_BACK in changed.stdout


def test_a_peer_that_is_taken_out_is_refused_once_the_change_is_said_to_be_applied(node: Node) -> None:
    text = node.config.read_text()
    _apply(node, text.removesuffix(NEW_PEER) + NEW_PEER)
    former = _pids(node, "receive")

    applied = _apply(node, text.removesuffix(NEW_PEER))

    assert applied.returncode == 0, applied.stdout + applied.stderr
    for _ in range(20):
        with Raw(node.port) as stranger:
            assert stranger.associate(calling=b"NEW")[0] == ASSOCIATE_RJ
    wait_until(lambda: not _pids(node, "receive") & former, WITHIN_S, "the former listener has left")


def test_a_setting_of_one_station_starts_only_that_one_anew(node: Node) -> None:
    text = node.config.read_text()
    listeners, assemblers = _pids(node, "receive"), _pids(node, "assemble")

    applied = _apply(node, text.replace("quiet_s = 3600", "quiet_s = 1800"))

    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert _pids(node, "receive") == listeners
    assert not _pids(node, "assemble") & assemblers


def test_what_a_station_cannot_start_with_is_taken_back(node: Node) -> None:
    text = node.config.read_text()
    (node.home / "no.pem").write_text("no certificate")
    tls = '\n[receive.tls]\ncertificate = "no.pem"\nkey = "no.pem"\nrequire_peer = false\n'
    listeners, heard = _pids(node, "receive"), _heard(node, "receive")

    doubted = _apply(node, text + tls)
    forced = _apply(node, text + tls, "--anyway")

    assert (doubted.returncode, forced.returncode) == (1, 1)
    assert "--anyway" in doubted.stderr
    assert "Found wrong" in doubted.stdout
    assert TAKEN_BACK in forced.stdout
    assert node.config.read_text() == text
    assert _pids(node, "receive") == listeners
    assert node.answers()
    wait_until(lambda: _heard(node, "receive") == heard, WITHIN_S, "no study waits for who never listened")
    assert [line.outcome for line in node.events(event=TAKEN_BACK)] == ["failure"]


def test_for_pages_that_are_taken_out_no_study_waits(node: Node) -> None:
    text, heard = node.config.read_text(), _heard(node, "receive")

    put_in = _apply(node, text + WEB.format(port=free_port()))
    with_pages = _heard(node, "receive")
    taken_out = _apply(node, text)

    assert (put_in.returncode, taken_out.returncode) == (0, 0), put_in.stderr + taken_out.stderr
    assert with_pages == heard | {"receive web"}
    wait_until(lambda: _heard(node, "receive") == heard, WITHIN_S, "forgotten")


def test_a_key_that_is_not_known_changes_nothing(node: Node) -> None:
    text = node.config.read_text()

    refused = _apply(node, text + "\n[recieve]\nport = 1\n")

    assert refused.returncode == 2
    assert "recieve" in refused.stderr
    assert node.config.read_text() == text


def test_a_file_that_somebody_breaks_does_not_reach_a_station_that_starts_again(node: Node) -> None:
    text = node.config.read_text()
    node.config.write_text("[node\n")
    try:
        node.kill_station("receive")
        wait_until(node.answers, WITHIN_S, "the listener answers again")
    finally:
        node.config.write_text(text)

    assert node.events(event=REFUSED) == []


def test_who_comes_while_the_listener_is_down_waits_and_is_served(node: Node) -> None:
    node.kill_station("receive")

    with Raw(node.port) as sender:
        sender.associate(calling=b"SENDER")
        answer = _store(sender)

    assert answer == 0


def test_a_second_node_is_not_started_over_the_same_data(node: Node) -> None:
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(node.config)]

    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)

    assert second.returncode == 2
    assert "runs with the data folder" in second.stderr
    assert node.answers()
    with node.database.read() as session:
        assert {one.name.partition(" ")[0] for one in stations.listing(session)} >= {"receive", "work", "deliver"}


def test_without_a_node_the_file_alone_is_replaced(tmp_path: Path) -> None:
    text = TOML.format(port=free_port(), pacs_port=free_port(), quiet_s=5)
    (tmp_path / "node.toml").write_text(text)
    idle = Node(tmp_path, text, 1)

    applied = _apply(idle, text.replace("quiet_s = 5", "quiet_s = 6"), "--anyway")

    assert applied.returncode == 0, applied.stderr
    assert "at the next start" in applied.stdout
    assert "quiet_s = 6" in idle.config.read_text()
