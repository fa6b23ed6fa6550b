"""Fuzz: mutated data sets through the admission, mutated associations at a real listener (RELIABILITY.md 5.6).

Run ``python tests/chaos/fuzz.py datasets --cases 100000 --seed 1`` or ``associations --cases 10000``. Exit status: 0
nothing wrong, 1 a death, a hang, an exception that is no refusal, or an admission that DCMTK does not share. With
``--control by-pydicom`` what pydicom reads is admitted, and the run must fail.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "plugin"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import fuzz_associations
import fuzz_datasets

KINDS = {"datasets": fuzz_datasets.fuzz, "associations": fuzz_associations.fuzz}
MOST_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=["by-pydicom"])
    words = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = KINDS[words.kind](words.cases, words.seed, Path(folder), words.control)
    took_s, control = time.monotonic() - begun, words.control or "none"
    print(f"{words.kind}: {words.cases} cases, seed {words.seed}, control {control}, {took_s:.0f} s")
    print(*(f"{count:8} {verdict}" for verdict, count in tally.verdicts.most_common()), sep="\n")
    print(f"{len(tally.wrong)} wrong", *tally.wrong[:MOST_SHOWN], sep="\n")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
