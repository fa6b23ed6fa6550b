"""A copy of a node under load is a node again, as it was at one moment (catalogue L)."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from factories import write
from listener_process import ListenerProcess, instance
from processes import HOST, wait_until
from sqlalchemy import select

from storage import audit
from storage.database import Database
from storage.schema import Event as Line
from storage.schema import Instance
from storage.spool import Spool
from vb_node.dimse import scu
from vb_node.runtime.receive import is_intact

BEFORE, AT_ONCE = 20, 5


class Sending(Thread):
    """Sends instances until it is told to stop, and keeps the UIDs of those that were answered Success."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self._to, self._folder = scu.Address("VBNODE", HOST, port), folder
        self.answered: list[str] = []
        self.enough = Event()

    def run(self) -> None:
        for number in count():
            paths = write([instance() for _ in range(AT_ONCE)], self._folder / str(number))
            self.answered += [one.path.stem for one in scu.store_many(paths, self._to, "SENDER") if one.status == 0]
            if self.enough.is_set():
                return


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ListenerProcess]:
    process = ListenerProcess(tmp_path / "node")
    process.start()
    yield process
    process.stop()


def back_up(node: ListenerProcess, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "vb_node", "backup", "--config", str(node.config), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _lines(database: Database, last: int) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Line.digest).where(Line.seq <= last).order_by(Line.seq)))


def _instances(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {one.sop_instance_uid: one.sha256 for one in session.scalars(select(Instance))}


def test_l_07_a_backup_under_load_is_whole_and_a_node_again(node: ListenerProcess, tmp_path: Path) -> None:
    sending, copied = Sending(node.port, tmp_path / "sent"), tmp_path / "copied"
    sending.start()
    while len(sending.answered) < BEFORE:
        sending.join(0.1)
    before = list(sending.answered)

    done = back_up(node, copied)

    sending.enough.set()
    sending.join()
    live, copy = node.database, Database(f"sqlite:///{copied / 'ledger.db'}")
    kept, spool = _instances(copy), Spool(copied / "spool")
    with copy.read() as session:
        trail = audit.verify(session)
    assert done.returncode == 0, done.stderr
    assert f"the last is {trail.last}, with digest {trail.digest}" in done.stdout
    assert set(before) <= kept.keys() <= set(sending.answered)
    assert {path.name for path in spool} == {spool.path_of(*one).name for one in kept.items()}
    assert all(is_intact(spool.path_of(*one), one[1]) for one in kept.items())
    assert _lines(live, trail.last) == _lines(copy, trail.last)
    copy.close()
    _put_in_place(node, copied)
    assert node.serves_a_good_peer()


def _put_in_place(node: ListenerProcess, copied: Path) -> None:
    node.stop()
    (node.home / "data").rename(node.home / "gone")
    copied.rename(node.home / "data")
    node.start()


def test_a_file_that_is_lost_is_named(node: ListenerProcess, tmp_path: Path) -> None:
    paths = write([instance(), instance()], tmp_path / "sent")
    assert [one.status for one in scu.store_many(paths, scu.Address("VBNODE", HOST, node.port), "SENDER")] == [0, 0]
    wait_until(lambda: len(_instances(node.database)) == len(paths), 10, "the rows follow their answers")
    spool = Spool(node.home / "data" / "spool")
    (lost, sha256), (damaged, other) = _instances(node.database).items()
    spool.path_of(lost, sha256).unlink()
    spool.path_of(damaged, other).write_bytes(spool.path_of(damaged, other).read_bytes()[:-2])

    done = back_up(node, tmp_path / "copied")

    assert done.returncode == 1
    assert {line.split()[-1] for line in done.stderr.splitlines() if line.startswith("lost")} == {lost, damaged}


def test_a_folder_that_is_there_is_not_written_to(node: ListenerProcess, tmp_path: Path) -> None:
    done = back_up(node, tmp_path)

    assert done.returncode == 2
    assert "a new folder expected for the copy" in done.stderr
