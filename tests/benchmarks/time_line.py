"""The time line of one case: from the last slice to the results in a real Orthanc, and the worker's peak memory.

Run ``python tests/benchmarks/time_line.py [--case DIR] [--quiet-s 3] [--cold]``; docs/benchmarks.md keeps its table.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from pydicom.misc import is_dicom

sys.path.insert(0, str(Path(__file__).parents[1]))

from places import REAL_DATA
from processes import TOML, Node, Orthanc, free_port, storescu, wait_until

from storage.schema import Job
from vb_node import show

WARM = "application warm"


class Peak(threading.Thread):
    """Watches the resident memory of a process and its children."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.mib = process, 0.0

    def run(self) -> None:
        while self.process.is_running():
            each = [self.process, *self.process.children()]  # the worker and its cell
            self.mib = max(self.mib, sum(one.memory_info().rss for one in each) / 2**20)
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, default=REAL_DATA / "remind_022_t1ce_seg")
    parser.add_argument("--quiet-s", type=float, default=3.0)
    parser.add_argument("--cold", action="store_true", help="send at once: libraries and weights are not loaded yet")
    words = parser.parse_args()
    paths = [path for path in sorted(words.case.rglob("*")) if path.is_file() and is_dicom(path)]
    with tempfile.TemporaryDirectory() as folder:
        orthanc = Orthanc(Path(folder) / "orthanc", free_port(), free_port())
        port = free_port()
        home = Path(folder) / "node"
        home.mkdir()
        toml = TOML.format(port=port, pacs_port=orthanc.port, quiet_s=words.quiet_s)
        node = Node(home, toml if words.cold else toml.replace("warm = false", "warm = true"), port)
        try:
            orthanc.start()
            node.start()
            if not words.cold:
                wait_until(lambda: WARM in (home / "node.log").read_text(), 120, "the application is warm")
            measure(node, paths, words.quiet_s, "cold" if words.cold else "warm")
        finally:
            node.stop()
            orthanc.stop()


def measure(node: Node, paths: list[Path], quiet_s: float, worker: str) -> None:
    """Send one case and print its time line."""
    peak = Peak(node.station("work"))
    peak.start()
    storescu(node, paths, "SENDER", "-R")
    wait_until(lambda: node.is_done(1), 900, "the job ends")
    show.table(
        f"{len(paths)} instances, {worker} worker",
        ["from the last slice", "s"],
        time_line(node, node.jobs()[0], quiet_s),
    )
    show.console.print(f"worker's peak memory: {peak.mib:.0f} MiB")


def time_line(node: Node, job: Job, quiet_s: float) -> list[tuple[str, str]]:
    """Give the moments of a job in seconds after the last slice, less the quiet time."""
    arrived = max(
        event.at for event in node.events(event="instance received", study_instance_uid=job.study_instance_uid)
    )
    zero = arrived + quiet_s
    moments = [("closed and scheduled", job.created_at), ("claimed", job.started_at or 0.0)]
    lines = [(name, f"{at - zero:.2f}") for name, at in moments]
    lines += [(f"  {step} (length)", f"{seconds:.2f}") for step, seconds in (job.outcome or {})["seconds"].items()]
    lines.append(("results written", f"{(job.finished_at or 0.0) - zero:.2f}"))
    lines += [(f"{sent.result.role} in the PACS", f"{(sent.sent_at or 0.0) - zero:.2f}") for sent in node.deliveries()]
    return lines


if __name__ == "__main__":
    main()
