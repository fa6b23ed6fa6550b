"""Real programs that tests start on loopback: the node, DCMTK's tools, Orthanc."""

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx2
import psutil
import pytest
from pydicom import Dataset, dcmread

from storage import arrivals, audit, jobs
from storage.database import Database
from storage.schema import Delivery, Event, Job, Series
from vb_node.dimse import scu
from vb_node.errors import Later

HOST = "127.0.0.1"
START_S, STEP_S = 60.0, 0.1


def tool(name: str) -> str:
    """Find a Debian program; pynetdicom installs namesakes of DCMTK's, so only the system's folders are searched."""
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/bin")
    assert path is not None, f"{name} is not installed: `bash tests/run.sh` installs all that the tests need"
    return path


def free_port() -> int:
    """Give a port below those that the system gives to connections, and that no other worker of pytest is given."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


def _ports() -> Iterator[int]:
    first = 12_000 + 5_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
    start = random.randrange(5_000)
    return (first + (start + number) % 5_000 for number in itertools.count())


_PORTS = _ports()


def is_ready(url: str) -> bool:
    """Say whether a web station answers that it could take an instance."""
    try:
        return httpx2.get(f"{url}/ready").status_code == 200
    except httpx2.TransportError:
        return False


def wait_until(is_so: Callable[[], object], within_s: float, what: str) -> None:
    """Wait for something to come true; fail with its name."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(STEP_S)
    pytest.fail(f"{what}: not within {within_s:g} s")


def words_of(process: psutil.Process) -> list[str]:
    """Give the words of a process's command line; a station has set its own, as one text."""
    try:
        return [word for text in process.cmdline() for word in text.split()]
    except psutil.NoSuchProcess:  # or it ended, and nobody has asked how
        return []


class Node:
    """``vb-node serve`` in a folder, and a look at its ledger."""

    def __init__(self, home: Path, toml: str, port: int) -> None:
        self.home, self.port = home, port
        self.config = home / "node.toml"
        self.config.write_text(toml)
        self.address = scu.Address("VBNODE", HOST, port)
        self._process: subprocess.Popen[bytes] | None = None
        self._database: Database | None = None

    def start(self) -> None:
        """Start it, and wait until each process of each station is there by its name."""
        self.begin()
        wait_until(lambda: self.stations("deliver") and self._are_named(), START_S, "the last station is started")

    def _are_named(self) -> bool:
        return all("--only" in words_of(child) for child in psutil.Process(self.supervisor).children())

    def begin(self) -> None:
        """Start it, and wait until it answers: that is the first station."""
        command = [sys.executable, "-m", "vb_node", "serve", "--config", str(self.config)]
        log = (self.home / "node.log").open("ab")
        self._process = subprocess.Popen(command, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "2"})
        wait_until(self.answers, START_S, "the node answers C-ECHO")

    def answers(self) -> bool:
        try:
            scu.echo(self.address, "SENDER")
        except Later:
            return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """Kill the supervisor; its children die with it."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(children, timeout=20)
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        self._process = None

    @property
    def supervisor(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stations(self, name: str) -> list[psutil.Process]:
        """Find the processes of a station."""
        children = psutil.Process(self.supervisor).children()
        return [child for child in children if words_of(child)[-2:] == ["--only", name]]

    def station(self, name: str) -> psutil.Process:
        """Find the process of a station that has one."""
        (found,) = self.stations(name)
        return found

    def kill_station(self, name: str) -> None:
        """Kill every process of a station, and wait until the supervisor has started as many again."""
        old = self.stations(name)
        for one in old:
            one.send_signal(signal.SIGKILL)
        gone = {one.pid for one in old}
        wait_until(
            lambda: len({one.pid for one in self.stations(name)} - gone) == len(old), 20, f"{name} is started again"
        )

    @property
    def database(self) -> Database:
        if self._database is None:
            self._database = Database(f"sqlite:///{self.home / 'data' / 'ledger.db'}")
        return self._database

    def jobs(self) -> list[Job]:
        with self.database.read() as session:
            return [jobs.get(session, job.id) for job in jobs.listing(session)][::-1]

    def deliveries(self) -> list[Delivery]:
        with self.database.read() as session:
            return [sent for job in jobs.listing(session) for sent in jobs.deliveries_of(session, job.id)]

    def events(self, **keys: object) -> list[Event]:
        with self.database.read() as session:
            return list(audit.search(session, since=None, until=None, limit=100_000, **keys))

    def open_series(self) -> list[Series]:
        with self.database.read() as session:
            return list(arrivals.open_series(session))

    def is_done(self, count: int) -> bool:
        """Say whether so many jobs have ended and everything is delivered."""
        found = self.jobs()
        is_ended = len(found) >= count and all(job.state in ("COMPLETED", "FAILED", "CANCELED") for job in found)
        return is_ended and all(sent.state in ("sent", "parked") for sent in self.deliveries())


TOML = """\
[node]
ae_title = "VBNODE"

[receive]
port = {port}

[[receive.peers]]
ae_title = "SENDER"
hosts = ["127.0.0.1"]

[assemble]
quiet_s = {quiet_s}

[[routes]]
name = "virtual-biopsy"
destinations = ["pacs"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {pacs_port}

[work]
warm = false
lease_s = 6

[retention]
stop_at = 1
stop_free_gb = 0
"""


@contextmanager
def storescp(folder: Path, port: int) -> Iterator[Path]:
    """Run DCMTK's storescp: what it receives lies in the folder, byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [tool("storescp"), "-od", str(folder), "+B", "-aet", "PACS", "-uf", "--fork", str(port)]
    server = subprocess.Popen(command, start_new_session=True)
    try:
        wait_until(lambda: _listens(port), 20, "storescp listens")
        yield folder
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def storescu(
    node: Node, paths: Sequence[Path], calling: str = "SENDER", *options: str
) -> subprocess.CompletedProcess[str]:
    """Send files by DCMTK's storescu."""
    command = [
        tool("storescu"),
        "-v",
        "-aet",
        calling,
        "-aec",
        "VBNODE",
        *options,
        HOST,
        str(node.port),
        *map(str, paths),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Orthanc:
    """A real Orthanc (Debian's package) with its DICOMweb plug-in, as the PACS that results come back to."""

    def __init__(self, home: Path, dicom_port: int, http_port: int) -> None:
        home.mkdir(parents=True)
        self.url = f"http://{HOST}:{http_port}"
        self.port = dicom_port
        settings = {
            "Name": "PACS",
            "StorageDirectory": str(home),
            "IndexDirectory": str(home),
            "DicomAet": "PACS",
            "DicomPort": dicom_port,
            "HttpPort": http_port,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "DicomWeb": {"Enable": True, "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
        }
        self._config = home / "orthanc.json"
        self._config.write_text(json.dumps(settings))
        self._log = (home / "orthanc.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([tool("Orthanc"), str(self._config)], stdout=self._log, stderr=self._log)
        wait_until(self._answers, START_S, "Orthanc answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def _answers(self) -> bool:
        try:
            self.get("/system")
        except OSError:
            return False
        return _listens(self.port)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return bytes(answer.read())

    def put(self, path: str, body: object) -> None:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def instances(self) -> list[Dataset]:
        """Fetch every instance back."""
        ids = json.loads(self.get("/instances"))
        return [dcmread(BytesIO(self.get(f"/instances/{one}/file"))) for one in ids]
