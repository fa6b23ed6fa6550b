"""How much motion and noise MRI-Processor and Tumor-Localizer bear, on phantoms and, with ``--real``, on real heads.

Run ``python tests/benchmarks/spoiled_heads.py [--cases 10] [--real ../shared/data]``;
docs/virtual-biopsy-processing.md keeps its table.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from real_heads import HEADS
from spoiled import with_motion, with_noise

from vb_node import show
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.process import process
from vb_node.errors import Unfit
from vb_node.evaluation.localizer import HIT_MM, distances_mm
from vb_node.pipeline.resample import soft_mask
from vb_node.training.phantom import class_of, make_case
from vb_node.types import Labels, Volume

MOTION_MM, NOISE = (0, 1, 2, 4, 8), (0.1, 0.25, 0.5)
FIRST = 1260000


def spoil(volume: Volume, kind: str, amount: float) -> Volume:
    if kind == "noise":
        return with_noise(volume, amount * float(np.percentile(volume.voxels, 90)))
    return with_motion(volume, amount) if amount else volume


def look(volume: Volume, lesion: Labels | None, detector: NetworkDetector) -> tuple[str, ...]:
    """Give the figures of the gate, what the localizer says, and whether its best region lies in the lesion."""
    try:
        standard = process(volume)
    except Unfit as error:
        return ("", "", "", f"not analysed: {error.reason}", "")
    figures = [standard.quality.get(name) for name in ("ghosts", "contrast_to_noise", "sinus_brightness")]
    prior = localise(standard, detector)
    hit = ""
    if lesion is not None:
        truth = soft_mask(lesion > 0, volume.grid, standard.grid) > 0.5
        hit = "yes" if min(distances_mm(prior, truth, standard)[:1], default=np.inf) <= HIT_MM else "no"
    shown = ("-" if figure is None else f"{figure:.3g}" for figure in figures)
    return (*shown, f"{prior.state}, {prior.confidence:.2f}", hit)


def heads(cases: int, real: Path | None) -> Iterator[tuple[str, Volume, Labels | None]]:
    for seed in range(FIRST, FIRST + cases):
        case = make_case(seed, class_of(seed))
        size_ml = np.count_nonzero(case.labels) * case.volume.grid.voxel_mm3 / 1000
        yield f"{seed} {case.tumour_class}, {size_ml:.1f} mL", case.volume, case.labels
    for name, read in HEADS.items() if real else ():
        yield name, read(real), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--real", type=Path)
    words = parser.parse_args()
    detector = NetworkDetector.load()
    levels = [("motion", mm) for mm in MOTION_MM] + [("noise", share) for share in NOISE]
    rows = [
        [name, f"{kind} {amount:g}", *look(spoil(volume, kind, amount), lesion, detector)]
        for name, volume, lesion in heads(words.cases, words.real)
        for kind, amount in levels
    ]
    columns = ["head", "spoiled by", "ghosts", "contrast to noise", "sinus", "localisation", "first region in lesion"]
    show.table("motion in mm, noise as a share of the 90th percentile", columns, rows)


if __name__ == "__main__":
    main()
