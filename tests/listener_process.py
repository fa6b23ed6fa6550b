"""``vb-node serve --only receive`` as a process of its own, and whether it is "alive" after a case."""

import hashlib
import os
import signal
import sqlite3
import ssl
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from factories import data_set_of, head, mr_series
from pdu import Raw, echo_rq, store_rq
from processes import START_S, free_port, wait_until
from pydicom import Dataset
from pydicom.uid import MRImageStorage, generate_uid

from storage import arrivals, audit
from storage.database import Database
from storage.schema import Event, Instance

ALIVE_S = 10.0
MOST_GROWTH = 20 << 20
LEDGER_FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm")
MOST_LEDGER_FILES = 33  # of three pools of five: file and log of each, and what is shared
OWN_THREADS = ("main", "listener", "pen", "leave")

TOML = """\
[node]
ae_title = "VBNODE"

[receive]
port = {port}
stall_s = 2
idle_s = 4
max_associations = 8
max_instance_mb = 8
{tls}
[[receive.peers]]
ae_title = "SENDER"
hosts = ["127.0.0.1"]

[[receive.peers]]
ae_title = "LIMITED"
max_associations = 2
{peers}
[retention]
stop_at = 1
stop_free_gb = 0
"""


@dataclass(frozen=True)
class Vitals:
    """What a process holds; ``descriptors`` without the ledger's, of whose pools a busy moment may fill more."""

    threads: int
    descriptors: int
    resident: int


def instance() -> Dataset:
    """Make one small MR instance with a SOP Instance UID of its own."""
    (dataset,) = mr_series(head((1, 16, 16)))
    dataset.SOPInstanceUID = generate_uid()
    return dataset


class ListenerProcess:
    """A listener that runs alone, on a ledger and a spool of its own; ``context`` is how a good peer comes by TLS."""

    STATION = "receive"

    def __init__(self, home: Path, tls: str = "", peers: str = "", context: ssl.SSLContext | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.port = home, free_port()
        self.config = home / "node.toml"
        self.config.write_text(TOML.format(port=self.port, tls=tls, peers=peers))
        self.log = home / "node.log"
        self.context = context
        self.database = Database(f"sqlite:///{home / 'data' / 'ledger.db'}")

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "vb_node", "serve", "--config", str(self.config), "--only", self.STATION]

    def start(self) -> "ListenerProcess":
        with self.log.open("ab") as log:
            self.process = psutil.Popen(self.command, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        wait_until(self._listens, START_S, "the listener listens")
        return self

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            Raw(self.port).socket.close()
        except ConnectionRefusedError:
            return False
        return True

    def warm_up(self) -> None:
        """Let the process take what it keeps: buffers, connections to the ledger."""
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: self.serves_a_good_peer(), range(12)))
        wait_until(lambda: self.vitals().threads <= len(OWN_THREADS), ALIVE_S, "the peers of the warm-up are gone")

    def turned_away(self, host: str) -> int:
        """Count the connections of a host that were too many, by the log."""
        lines = self.log.read_text().splitlines()
        return sum("too many connections" in line and f'"host": "{host}"' in line for line in lines)

    def serves_a_good_peer(self) -> bool:
        """Say whether a C-ECHO and a C-STORE of a new instance are answered Success."""
        dataset = instance()
        with Raw(self.port) as peer:
            if self.context is not None:
                peer.secure(self.context)
            peer.associate()
            is_echoed = peer.send(echo_rq()).status() == 0
            stored = peer.send(*store_rq(dataset, dataset.SOPClassUID, dataset.SOPInstanceUID)).status()
        return is_echoed and stored == 0

    def store(self, dataset: Dataset | bytes, sop_class: str = MRImageStorage, sop_instance: str = "1.2.3") -> int:
        """Send one instance over an association of its own; give the status."""
        if isinstance(dataset, Dataset):
            sop_class, sop_instance = dataset.SOPClassUID, dataset.SOPInstanceUID
        with Raw(self.port) as peer:
            peer.associate()
            return peer.send(*store_rq(dataset, sop_class, sop_instance)).status()

    def vitals(self) -> Vitals:
        with self.process.oneshot():
            return Vitals(self.process.num_threads(), self._descriptors(), self.process.memory_info().rss)

    def _descriptors(self) -> int:
        names = [Path(name).name for name in map(_target, Path(f"/proc/{self.process.pid}/fd").iterdir())]
        of_ledger = sum(name in LEDGER_FILES for name in names)
        assert of_ledger <= MOST_LEDGER_FILES
        return len(names) - of_ledger

    def check_alive(self, before: Vitals) -> None:
        """Hold the process against the catalogue's "alive" (RELIABILITY section 4)."""
        assert self.serves_a_good_peer()
        wait_until(lambda: self.vitals().threads <= before.threads, ALIVE_S, "the threads are back")
        wait_until(lambda: self.vitals().descriptors <= before.descriptors, ALIVE_S, "the file descriptors are back")
        assert self.vitals().resident - before.resident < MOST_GROWTH
        wait_until(lambda: not self.orphans(), ALIVE_S, "nothing half written is left")
        with sqlite3.connect(self.home / "data" / "ledger.db") as ledger:
            assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def orphans(self) -> list[Path]:
        """List what is half written: by its name, or as its content is not what its name says."""
        parts = list((self.home / "data").rglob("*.part"))
        return parts + [file for file in self.files() if not _is_whole(file)]

    def files(self) -> set[Path]:
        """List the files of the spool."""
        return set((self.home / "data" / "spool").rglob("*.dcm"))

    def instances(self, series_instance_uid: str) -> Sequence[Instance]:
        with self.database.read() as session:
            return arrivals.instances_of_series(session, series_instance_uid)

    def events(self, **keys: str) -> list[Event]:
        with self.database.read() as session:
            return list(audit.search(session, since=None, until=None, limit=10_000, **keys))

    def stop(self) -> None:
        self.database.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


def _is_whole(file: Path) -> bool:
    return file.stem.endswith(hashlib.sha256(data_set_of(file)).hexdigest()[:32])


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
