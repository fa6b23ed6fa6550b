"""What a node costs that has nothing to do, beside an Orthanc that has nothing to do: its start, its minute, memory.

    python tests/benchmarks/idle.py [--seconds 60]

The node has its pages, a warm cell and two destinations, of which one cannot be reached.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import TOML, Node, Orthanc, free_port, is_ready, wait_until, words_of

from vb_node import show

SETTLED_S, WARM_S = 10.0, 120.0
MORE = """
[[destinations]]
name = "nowhere"
ae_title = "NOWHERE"
port = 1

[web]
port = {web}
"""


def _cost(parents: list[psutil.Process]) -> dict[int, tuple[str, float, float]]:
    """Give what each process is called, its seconds of processor so far, and its memory in MB."""
    found = {}
    for one in (child for parent in parents for child in (parent, *parent.children(recursive=True))):
        words, times = words_of(one), one.cpu_times()
        if "--only" in words:
            name = words[words.index("--only") + 1]
        elif "serve" in words:
            name = "supervisor"
        else:
            name = "cell" if "vb_node.runtime.inside" in words else Path(words[0]).name
        found[one.pid] = name, times.user + times.system, one.memory_full_info().pss / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        home, web = Path(folder), free_port()
        pacs = Orthanc(home / "orthanc", free_port(), free_port())
        (home / "node").mkdir()
        port = free_port()
        toml = TOML.format(port=port, pacs_port=pacs.port, quiet_s=60).replace("warm = false\n", "")
        node = Node(home / "node", toml + MORE.format(web=web), port)
        pacs.start()
        node.start()
        try:
            wait_until(lambda: is_ready(f"http://127.0.0.1:{web}"), WARM_S, "the pages answer")
            wait_until(lambda: "application warm" in (node.home / "node.log").read_text(), WARM_S, "the cell is warm")
            time.sleep(SETTLED_S)
            processes = [psutil.Process(running.pid) for running in (node._process, pacs._process) if running]
            before = _cost(processes)
            time.sleep(seconds)
            after = _cost(processes)
        finally:
            node.stop()
            pacs.stop()
    rows = [
        [name, f"{before[pid][1]:.1f}", f"{100 * (spent - before[pid][1]) / seconds:.2f}", f"{memory:.0f}"]
        for pid, (name, spent, memory) in after.items()
        if pid in before
    ]
    columns = ["process", "s of processor until ready", "% of a core, idle", "memory of its own, MB"]
    show.table(f"Nothing to do for {seconds:g} s", columns, rows)


if __name__ == "__main__":
    main()
