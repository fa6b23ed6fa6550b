"""How soon a node over a large ledger and a full spool is ready: C-ECHO, /ready, and a first instance answered (R-18).

Run ``python tests/benchmarks/start.py [--jobs 100000] [--files 200000] [--home FOLDER]`` and keep its table in
docs/reliability.md; what lies in the folder already is used again.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from big_ledger import fill
from factories import write
from listener_process import instance
from processes import HOST, TOML, Node, free_port, is_ready, wait_until
from sqlalchemy import select

from storage.database import Database
from storage.schema import Instance
from storage.spool import Spool
from vb_node import show
from vb_node.dimse import scu

WITHIN_S, REBUILT_S = 600, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--home", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = words.home or Path(folder)
        if not (home / "data" / "ledger.db").exists():
            prepare(home / "data", words.jobs, words.files)
        rows = [start(home) for _ in range(words.times)]
    columns = ["C-ECHO", "the web station is ready", "an instance is stored", "memory of receive and web, MB"]
    show.table(f"Seconds from the start, {words.jobs} jobs, {words.files} files in the spool", columns, rows)


def prepare(data: Path, jobs: int, files: int) -> None:
    """Fill ledger and spool; a file is 4 kB of nothing, under the name of an instance of the ledger."""
    data.mkdir(parents=True)
    database, spool = Database(f"sqlite:///{data / 'ledger.db'}"), Spool(data / "spool")
    database.upgrade()
    fill(database, jobs)
    spool.prepare()
    with database.read() as session:
        for uid, sha256 in session.execute(select(Instance.sop_instance_uid, Instance.sha256).limit(files)):
            spool.path_of(uid, sha256).write_bytes(bytes(4096))
    database.close()


def start(home: Path) -> list[object]:
    """Start the node once and give the row of the table."""
    port, web = free_port(), free_port()
    node = Node(home, TOML.format(port=port, pacs_port=free_port(), quiet_s=60) + f"\n[web]\nport = {web}\n", port)
    (image,) = write([instance()], home / "image")
    begun = time.monotonic()
    try:
        node.begin()
        echo_s = time.monotonic() - begun
        wait_until(lambda: is_ready(f"http://{HOST}:{web}"), WITHIN_S, "the web station is ready")
        ready_s = time.monotonic() - begun
        (sent,) = scu.store_many([image], node.address, "SENDER")
        assert sent.status == 0, sent
        stored_s = time.monotonic() - begun
        time.sleep(REBUILT_S)
        memory_mb = (one.memory_info().rss >> 20 for name in ("receive", "web") for one in node.stations(name))
        return [*(f"{took_s:.1f}" for took_s in (echo_s, ready_s, stored_s)), ", ".join(map(str, memory_mb))]
    finally:
        node.stop()


if __name__ == "__main__":
    main()
