"""Power cuts without a disk image: each file of the spool that no fsync has taken to the disk is taken away.

The node runs under load, and the inode of each file that it fsyncs is noted. At a random moment it is frozen and its
data folder copied, but for what a disk need not hold yet; what had been answered must be in the copy. Any machine can
run this; how a real file system keeps what was synced, and the ledger's own commits, ``power_cut.py`` shows.

Run ``python tests/chaos/unsynced.py --cuts 5 --seed 1``; with ``--control`` nothing is synced and the run must fail.
Exit status: 0 nothing lost, 1 something lost, or nothing answered.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import invariants
from invariants import Ledger
from peers import Pacs, Sender
from power_cut import BETWEEN_S, CONTROLS, PAUSE_S, REST_S, rebuild
from processes import free_port, wait_until
from victim import START_S, Victim


def synced_copy(home: Path, copy: Path, noted: set[int]) -> None:
    """Copy a node's folder without the files of its spool that are not noted."""

    def unsynced(folder: str, names: list[str]) -> list[str]:
        spooled = [name for name in names if name.endswith(".dcm")]
        return [name for name in spooled if (Path(folder) / name).stat().st_ino not in noted]

    shutil.copytree(home, copy, ignore=unsynced)


def run(scratch: Path, cuts: int, seed: int, control: str | None) -> int:
    chance, answered, is_lost = random.Random(seed), 0, False
    home, notes, pacs_port = scratch / "node", scratch / "synced", free_port()
    home.mkdir()
    pacs = Pacs(pacs_port, scratch / "pacs.jsonl", seed)
    with closing(pacs), Victim(home, pacs_port, control, notes=notes) as victim:
        sender = Sender(victim.port, PAUSE_S)
        victim.wait_until_up()
        sender.start()
        wait_until(lambda: sender.answered, START_S, "a first answer")
        for number in range(1, cuts + 1):
            time.sleep(chance.uniform(*BETWEEN_S))
            known, copy = dict(sender.answered), scratch / f"cut-{number}"
            with victim.frozen():
                synced_copy(home, copy, set(map(int, notes.read_text().split())))
            rebuild(copy)
            finding = invariants.answered_is_kept(Ledger(copy / "data"), known)
            print(f"cut {number}: {finding}", flush=True)
            answered, is_lost = answered + len(known), is_lost or bool(finding.wrong)
        sender.enough.set()
        sender.join(REST_S)
    print(f"seed {seed}, control {control or 'none'}, {cuts} cuts, {answered} instances answered before a cut")
    return int(is_lost or answered == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=CONTROLS[:1])
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return run(Path(scratch), words.cuts, words.seed, words.control)


if __name__ == "__main__":
    sys.exit(main())
