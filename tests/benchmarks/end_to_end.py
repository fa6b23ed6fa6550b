"""Benchmark C: phantoms as DICOM series, shuffled, through a node to a PACS, and what arrives there read by others.

The SEG is read by dcmqi and held against the mask in the pipeline's space, carried to the source's grid by SimpleITK.
Run ``python tests/benchmarks/end_to_end.py [--seed 1250190]``; docs/virtual-biopsy.md keeps its table. Exit status: 0
all gates hold, 1 one does not.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import TOML, Node, free_port, storescp, storescu, wait_until
from pydicom import dcmread
from validators import dcmqi_masks

from vb_node import show
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.process import process
from vb_node.dicom import codes
from vb_node.dicom.sr_tree import find, number, walk
from vb_node.dicom.volume import arrange_files, read_volume
from vb_node.evaluation.benchmarks.dicom_to_dicom import carried
from vb_node.models.pins import digests
from vb_node.training.acquisition import ACQUISITIONS, Acquisition
from vb_node.training.phantom import class_of, make_case
from vb_node.training.phantom_dicom import write_dicom, write_study

DONE_S = 600.0
LEAST_DICE, SUM_WITHIN = 0.95, 1e-9
BANDS = "bands"


def sent_through(home: Path, files: list[Path]) -> tuple[list[Path], float]:
    """Send files in any order to a node of their own; give what the PACS received, and the seconds since the last."""
    home.mkdir()
    port, pacs_port = free_port(), free_port()
    node = Node(home, TOML.format(port=port, pacs_port=pacs_port, quiet_s=3.0), port)
    with storescp(home / "pacs", pacs_port) as pacs:
        node.start()
        try:
            storescu(node, random.sample(files, len(files)))
            begun = time.monotonic()
            wait_until(lambda: node.is_done(1), DONE_S, "the job ends")
            return sorted(pacs.iterdir()), time.monotonic() - begun
        finally:
            node.stop()


def judge(acquisition: Acquisition, seed: int, folder: Path) -> tuple[list[str], bool]:
    """Take one phantom the whole way; give its line of the table, and whether every gate holds."""
    case = make_case(seed, class_of(seed), acquisition)
    (folder / "study").mkdir(parents=True)
    (folder / "t1ce").mkdir()
    received, took_s = sent_through(folder / "node", write_study(case, folder / "study"))
    series = arrange_files(write_dicom(case, folder / "t1ce"))
    volume = read_volume(series)
    standard = process(volume)
    prior = localise(standard, NetworkDetector.load())
    there = [(path, dcmread(path)) for path in received]
    (segmentation,) = [
        path for path, one in there if one.Modality == "SEG" and BANDS not in str(one.SeriesDescription).lower()
    ]
    (report,) = [one for _, one in there if one.Modality == "SR"]
    shown = dcmqi_masks(segmentation, folder / "masks", series) > 0
    expected = carried(prior.labels > 0, standard.grid, volume.grid)
    dice = 2 * float((shown & expected).sum()) / float(shown.sum() + expected.sum())
    said = [number(item) / 100 for item in find(report, codes.PROBABILITY)]
    words = " ".join(str(item.get("TextValue", "")) for item in walk(report))
    names_all = all(digest in words for digest in digests().values())
    (confidence,) = (number(item) for item in find(report, codes.LOCALISATION_SCORE))
    holds = dice >= LEAST_DICE and len(said) == 4 and abs(sum(said) - 1) <= SUM_WITHIN and names_all
    line = [acquisition, f"{dice:.3f}", f"{len(said)}, {sum(said):.3f}", f"{confidence:.2f}"]
    return [*line, "yes" if names_all else "no", f"{took_s:.0f}", "yes" if holds else "NO"], holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1_250_190)
    words = parser.parse_args()
    random.seed(words.seed)
    with tempfile.TemporaryDirectory() as folder:
        judged = [judge(kind, words.seed + n, Path(folder) / kind) for n, kind in enumerate(ACQUISITIONS)]
    columns = ["series", "Dice", "classes, sum", "confidence", "digests", "s", "holds"]
    show.table("from DICOM to DICOM", columns, [line for line, _ in judged])
    return int(not all(holds for _, holds in judged))


if __name__ == "__main__":
    sys.exit(main())
