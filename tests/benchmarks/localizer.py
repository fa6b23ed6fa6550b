"""Benchmark B: from a weak detector's boxes to the union of classifier and prior, on generated small heads.

Run ``python tests/benchmarks/localizer.py [--draws 3] [--cases 20]``; docs/virtual-biopsy-localizer.md keeps its table.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from block_2 import dice, recall, stages, worst_recall

from vb_node import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--cases", type=int, default=20)
    words = parser.parse_args()
    for draw in range(words.draws):
        first = draw * words.cases
        found = stages(range(first, first + words.cases))
        rows = [
            [name, f"{dice(of):.3f}", f"{recall(of):.3f}", f"{np.mean([one.precision for one in of]):.3f}"]
            + [f"{worst_recall(of):.2f}"]
            for name, of in found.items()
        ]
        columns = ["stage", "Dice", "recall", "precision", "worst-decile recall"]
        show.table(f"heads {first} to {first + words.cases - 1}", columns, rows)


if __name__ == "__main__":
    main()
