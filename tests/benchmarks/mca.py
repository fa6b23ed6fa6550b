"""Benchmark A: a tiny lesion among look-alikes, where only the mask says which is meant (MCA against GAP).

Run ``python tests/benchmarks/mca.py [--seeds 3]`` and keep its table in docs/virtual-biopsy-diagnoser.md.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tiny_lesions import ARMS, accuracy

from vb_node import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    rows = []
    for arm in ARMS:
        found = list(map(partial(accuracy, arm), seeds))
        rows.append([arm, *(f"{100 * one:.1f}" for one in found), f"{100 * np.mean(found):.1f}"])
    show.table("Accuracy, per cent of 200 (chance 25)", ["arm", *(f"seed {seed}" for seed in seeds), "mean"], rows)


if __name__ == "__main__":
    main()
