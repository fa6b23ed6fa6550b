"""How soon work starts: from the last C-STORE response to a worker's claim, by the evidence that closed the study.

Run ``python tests/benchmarks/start_of_work.py [--studies 20]`` and keep its table in docs/benchmarks.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from factories import affine, head, mr_series, write
from processes import TOML, Node, Orthanc, free_port, wait_until
from pydicom.uid import generate_uid

from vb_node import show
from vb_node.dimse import scu

SLICES, SETTLE_S = 24, 5
QUIET_S = 60
COUNTED = {"ImagesInAcquisition": SLICES, "AcquisitionNumber": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        orthanc = Orthanc(Path(folder) / "orthanc", free_port(), free_port())
        home = Path(folder) / "node"
        home.mkdir()
        node = make_node(home, orthanc)
        try:
            orthanc.start()
            node.start()
            rows = [
                row("count by headers", [once(node, None, COUNTED) for _ in range(words.studies)]),
                row("count by a PACS", [once(node, orthanc, {}) for _ in range(words.studies)]),
                row(f"unbroken geometry, {SETTLE_S} s", [once(node, None, {}) for _ in range(words.studies // 4 + 1)]),
            ]
        finally:
            node.stop()
            orthanc.stop()
    columns = ["evidence", "studies", "median s", "90th percentile s", "longest s", "closed by"]
    show.table(f"{SLICES} slices, last C-STORE response to claim", columns, rows)


def make_node(home: Path, orthanc: Orthanc) -> Node:
    port = free_port()
    toml = TOML.format(port=port, pacs_port=orthanc.port, quiet_s=QUIET_S)
    said = f"quiet_s = {QUIET_S}"
    return Node(home, toml.replace(said, f'{said}\nsettle_s = {SETTLE_S}\nask = "pacs"'), port)


def once(node: Node, pacs: Orthanc | None, told: dict[str, int]) -> tuple[float, str]:
    """Send one study and give the seconds until a worker has it, and what closed it."""
    study = str(generate_uid())
    attributes = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd", "StudyInstanceUID": study}
    datasets = mr_series(head((SLICES, 40, 40)), affine((5.0, 2.0, 2.0)), **(attributes | told))
    with tempfile.TemporaryDirectory() as folder:
        paths = write(datasets, Path(folder))
        if pacs is not None:
            list(scu.store_many(paths, scu.Address("PACS", "127.0.0.1", pacs.port), "SENDER"))
        for _ in scu.store_many(paths, node.address, "SENDER"):
            answered = time.time()
    wait_until(lambda: any(job.study_instance_uid == study for job in node.jobs()), QUIET_S, "the study is closed")
    wait_until(lambda: node.is_done(1), QUIET_S, "the job ends")
    (job,) = [job for job in node.jobs() if job.study_instance_uid == study]
    return (job.started_at or 0.0) - answered, job.closed_by


def row(name: str, found: list[tuple[float, str]]) -> list[str]:
    seconds = sorted(seconds for seconds, _ in found)
    ninetieth = seconds[min(len(seconds) - 1, round(0.9 * len(seconds)))]
    figures = (statistics.median(seconds), ninetieth, seconds[-1])
    said = {words for _, words in found}
    return [name, str(len(found)), *(f"{figure:.2f}" for figure in figures), "; ".join(sorted(said))]


if __name__ == "__main__":
    main()
