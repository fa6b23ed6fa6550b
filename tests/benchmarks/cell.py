"""What a cell costs: its start, a job's way in and out, the start after a death, memory.

    python tests/benchmarks/cell.py [--slices 200] [--side 512] [--rounds 20]

The application copies the first instance of a series, in this process and in a cell: the difference is the wall.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cells import Laboratory, case_of, saboteur_installed
from factories import head, mr_series, write
from plugins.saboteur import application

from vb_node.errors import NodeError


def _milliseconds(act: Callable[[], object], rounds: int) -> str:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return f"median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms"


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _start(laboratory: Laboratory) -> None:
    laboratory.cell.end()
    laboratory.cell.start()


def _die_and_work(laboratory: Laboratory) -> None:
    pid = laboratory.cell.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    try:
        laboratory.attempt("nothing")
    except NodeError:
        laboratory.attempt("nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("slices", 200), ("side", 512), ("rounds", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, saboteur_installed():
        laboratory = Laboratory(Path(folder))
        laboratory.good = write(mr_series(head((asked.slices, asked.side, asked.side))), Path(folder) / "series")
        case = case_of(laboratory.good, {"act": "nothing", "at": None})
        print("start of a cell:", _milliseconds(lambda: _start(laboratory), 5))
        print("walls that this machine lacks:", laboratory.cell.lacking or "none")
        print("a job here:", _milliseconds(lambda: application.run(case), asked.rounds))
        print("a job in a cell:", _milliseconds(lambda: laboratory.attempt("nothing"), asked.rounds))
        print("from SIGKILL to the next job's end:", _milliseconds(lambda: _die_and_work(laboratory), 5))
        assert laboratory.cell.pid is not None
        print(
            f"resident: cell {_resident_mb(laboratory.cell.pid):.0f} MB, this side {_resident_mb(os.getpid()):.0f} MB"
        )
        laboratory.cell.end()


if __name__ == "__main__":
    main()
