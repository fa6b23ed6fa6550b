"""How fast instances are taken: this node, DCMTK, Orthanc and pynetdicom side by side in one run.

``python tests/benchmarks/ingest.py`` prints a table of instances per second: MR instances of 256 x 256 x 16 bit, sent
over 1, 4 and 8 associations as PDUs that were encoded before the clock started, by DCMTK's ``storescu`` as it is
shipped, and by pynetdicom; what an instance costs the receiver of the processor; and its memory (PSS: what processes
share is divided among them). "nd" is TCP_NODELAY. Each receiver starts with an empty folder; each figure is the median
of the rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from factories import head, mr_series, write
from listener_process import ListenerProcess
from pdu import Raw, encoded, store_rq
from processes import HOST, free_port, tool, wait_until
from pydicom import Dataset
from pydicom.uid import MRImageStorage, generate_uid
from pynetdicom import AE

INSTANCES, STOCK_INSTANCES = 400, 60
ASSOCIATIONS = (1, 4, 8)
SECONDS_AT_MOST = 5.0
RAW_TOML = {"stall_s = 2": "stall_s = 10", "max_associations = 8": "max_associations = 64"}


def datasets(count: int) -> list[Dataset]:
    """Make the instances of one series, each with UIDs of its own."""
    (template,) = mr_series(head((1, 256, 256)))
    template.StudyInstanceUID, template.SeriesInstanceUID = generate_uid(), generate_uid()
    made = [deepcopy(template) for _ in range(count)]
    for one in made:
        one.SOPInstanceUID = generate_uid()
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    return made


@contextmanager
def _program(command: list[str], port: int, **environment: str) -> Iterator[int]:
    server = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _listens(port), 30, f"{command[0]} listens")
        yield port
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    try:
        Raw(port).socket.close()
    except OSError:
        return False
    return True


@contextmanager
def node(folder: Path) -> Iterator[int]:
    """Run this node's listener: file, folder and ledger are on disk before Success."""
    listener = _listener(folder, processes=1)
    listener.start()
    try:
        yield listener.port
    finally:
        listener.stop()


def _listener(folder: Path, processes: int) -> ListenerProcess:
    listener = ListenerProcess(folder)
    text = listener.config.read_text().replace("[receive]", f"[receive]\nprocesses = {processes}")
    for old, new in RAW_TOML.items():
        text = text.replace(old, new)
    listener.config.write_text(text)
    return listener


@contextmanager
def node_of_two(folder: Path, *words: str) -> Iterator[int]:
    """Run two processes of this node's listener on one port, as ``[receive] processes = 2`` does."""
    listener = _listener(folder, processes=2)
    command = [sys.executable, str(Path(__file__).with_name("listeners.py")), str(listener.config), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as both:
        assert both.stdout is not None
        assert both.stdout.readline() == "ready\n"
        try:
            yield listener.port
        finally:
            both.terminate()


@contextmanager
def dcmtk(folder: Path, **environment: str) -> Iterator[int]:
    """Run DCMTK's storescp, which fsyncs nothing."""
    port = free_port()
    folder.mkdir()
    with _program([tool("storescp"), "--fork", "-aet", "VBNODE", "-od", str(folder), str(port)], port, **environment):
        yield port


@contextmanager
def orthanc(folder: Path, **environment: str) -> Iterator[int]:
    """Run Orthanc, fsync on (its default)."""
    port, http = free_port(), free_port()
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomAet": "VBNODE",
        "DicomPort": port,
        "HttpPort": http,
        "DicomAlwaysAllowStore": True,
        "DicomThreadsCount": 8,
        "SyncStorageArea": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _program([tool("Orthanc"), str(folder / "orthanc.json")], port, **environment):
        yield port


@contextmanager
def pynetdicom(folder: Path) -> Iterator[int]:
    """Run pynetdicom's storescp app, which fsyncs nothing."""
    port = free_port()
    folder.mkdir()
    with _program([sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder)], port):
        yield port


RECEIVERS: dict[str, Callable[[Path], AbstractContextManager[int]]] = {
    "vb-node (durable)": node,
    "vb-node, two processes (durable)": node_of_two,
    "vb-node, two processes, nothing synced": lambda folder: node_of_two(folder, "--unsynced"),
    "Orthanc nd, fsync": lambda folder: orthanc(folder, TCP_NODELAY="1"),
    "Orthanc as shipped": orthanc,
    "DCMTK storescp nd, no fsync": lambda folder: dcmtk(folder, TCP_NODELAY="1"),
    "DCMTK storescp as shipped": dcmtk,
    "pynetdicom storescp": pynetdicom,
}


def by_generator(port: int, associations: int) -> tuple[int, float]:
    """Send pre-encoded instances over some associations at once; give how many, and in how many seconds."""
    lanes = [
        [
            b"".join(store_rq(encoded(one), one.SOPClassUID, one.SOPInstanceUID))
            for one in datasets(INSTANCES // associations)
        ]
        for _ in range(associations)
    ]

    def send(lane: list[bytes]) -> int:
        with Raw(port) as peer:
            peer.associate()
            until = time.monotonic() + SECONDS_AT_MOST
            for sent, request in enumerate(lane, 1):
                assert peer.send(request).status() == 0
                if time.monotonic() > until:
                    return sent
        return len(lane)

    with ThreadPoolExecutor(associations) as pool:
        begun = time.monotonic()
        return sum(pool.map(send, lanes)), time.monotonic() - begun


def by_storescu(port: int, paths: list[Path]) -> float:
    """Send files by storescu as it is shipped; give instances per second."""
    command = [tool("storescu"), "-aet", "SENDER", "-aec", "VBNODE", HOST, str(port), *map(str, paths)]
    begun = time.monotonic()
    subprocess.run(command, check=True)
    return len(paths) / (time.monotonic() - begun)


def by_pynetdicom(port: int, sent: list[Dataset]) -> float:
    """Send data sets as pynetdicom encodes them; give instances per second."""
    entity = AE("SENDER")
    entity.add_requested_context(MRImageStorage)
    association = entity.associate(HOST, port, ae_title="VBNODE")
    begun = time.monotonic()
    assert all(association.send_c_store(one).Status == 0 for one in sent)
    took_s = time.monotonic() - begun
    association.release()
    return len(sent) / took_s


def figures(port: int, stock: list[Path]) -> dict[str, float]:
    """Measure one receiver, whose processes are the only children of this one."""
    found: dict[str, float] = {}
    for associations in ASSOCIATIONS:
        before = _processor_s()
        sent, took_s = by_generator(port, associations)
        found[f"{associations} associations"] = sent / took_s
    found["`storescu` as shipped"] = by_storescu(port, stock)
    found["pynetdicom"] = by_pynetdicom(port, datasets(STOCK_INSTANCES))
    found["processor, ms"] = 1000 * (_processor_s() - before) / (sent + 2 * STOCK_INSTANCES)
    found["memory, MB"] = _of_receiver(lambda one: one.memory_full_info().pss) / 1e6
    return found


def _processor_s() -> float:
    """Give the seconds of processor that the receiver has had, and those of its processes that have ended."""
    return _of_receiver(lambda one: sum(one.cpu_times()[:4]))


def _of_receiver(ask: Callable[[psutil.Process], float]) -> float:
    """Sum up what is asked of each process of the receiver; some end after each association."""
    found = 0.0
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += ask(one)
    return found


def measure(root: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Give the median of each figure by receiver; receivers take turns within each round.

    No file is removed before the end: for minutes after that ext4 is slow to make others.
    """
    stock = write(datasets(STOCK_INSTANCES), root / "stock")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in RECEIVERS}
    for turn in range(rounds):
        for number, (name, receiver) in enumerate(RECEIVERS.items()):
            with receiver(root / f"{turn}-{number}") as port:
                found[name].append(figures(port, stock))
    return {name: {key: median(one[key] for one in turns) for key in turns[0]} for name, turns in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(dir=os.environ.get("VB_NODE_BENCH_DIR")) as root:
        found = measure(Path(root), rounds)
    columns = next(iter(found.values())).keys()
    print("| receiver | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, values in found.items():
        cells = [f"{value:.2f}" if value < 10 else f"{value:,.0f}" for value in values.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
