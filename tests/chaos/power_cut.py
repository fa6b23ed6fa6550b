"""Power cuts: what the disk holds at a random moment, without the page cache, must hold all that was answered.

The node runs on an ext4 image; at a random moment it is frozen and the image is copied (which is what a cut would
leave), the copy is mounted (the journal is replayed) and held against what had been answered; on the last copy of each
image a node is started (RELIABILITY.md 5.2). Needs root and loop devices.

Run ``python tests/chaos/power_cut.py --cuts 200 --seed 1``; with ``--control`` one promise is broken from outside and
the run must fail. Exit status: 0 nothing lost, 1 something lost, or nothing answered.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import invariants
from invariants import Finding, Ledger
from peers import Pacs, Sender
from processes import free_port
from victim import Victim

from storage.database import Database
from storage.spool import Spool
from vb_node.runtime.receive import Receiver

IMAGE_MB, CUTS_A_RUN, BETWEEN_S = 96, 10, (0.3, 1.5)
REST_S, PAUSE_S = 60.0, 0.5
CONTROLS = ("write-without-fsync", "commit-without-sync")


@dataclass(frozen=True)
class Cut:
    """One copy of the image, and what the peers had been told before it was begun."""

    image: Path
    answered: dict[str, str]
    stored: list[tuple[str, str]]


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def make_cuts(scratch: Path, count: int, chance: random.Random, control: str | None) -> list[Cut]:
    """Run a node under load on a fresh image, and cut so often."""
    image = scratch / "disk"
    with image.open("wb") as file:
        file.truncate(IMAGE_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    pacs_port = free_port()
    pacs = Pacs(pacs_port, scratch / "pacs.jsonl", chance.randrange(1000))
    with mounted(image, scratch / "mounted") as home, Victim(home, pacs_port, control) as victim:
        sender = Sender(victim.port, PAUSE_S)
        victim.wait_until_up()
        sender.start()
        cuts = [_cut(victim, image, scratch / f"cut-{number}", sender, pacs, chance) for number in range(count)]
        sender.enough.set()
        sender.join(REST_S)
    pacs.close()
    return cuts


def _cut(victim: Victim, image: Path, copy: Path, sender: Sender, pacs: Pacs, chance: random.Random) -> Cut:
    time.sleep(chance.uniform(*BETWEEN_S))
    cut = Cut(copy, dict(sender.answered), pacs.stored())
    with victim.frozen():  # the copy takes milliseconds, a power cut none
        shutil.copyfile(image, copy)
    return cut


def judge(cut: Cut, scratch: Path, *, goes_on: bool) -> list[Finding]:
    """Look at what a cut has left; if ``goes_on``, start a node on it and look again when it has nothing left to do."""
    with mounted(cut.image, scratch / "after") as home:
        rebuild(home)
        findings = _findings(home, cut, cut.stored)
        if goes_on:
            findings += _after_restart(home, cut, scratch)
    cut.image.unlink()
    return findings


def rebuild(home: Path) -> None:
    """Do what the listener does first at its start: rows that had not followed their answer come from the spool."""
    database = Database(f"sqlite:///{home / 'data' / 'ledger.db'}")
    receiver = Receiver(database, Spool(home / "data" / "spool"))
    receiver.recover()
    receiver.close()
    database.close()


def _findings(home: Path, cut: Cut, stored: list[tuple[str, str]]) -> list[Finding]:
    ledger = Ledger(home / "data")
    return [
        invariants.answered_is_kept(ledger, cut.answered),
        invariants.one_content_a_uid(ledger, stored),
        invariants.audit_is_whole(ledger, cut.answered),
        invariants.ledger_is_sound(ledger),
    ]


def _after_restart(home: Path, cut: Cut, scratch: Path) -> list[Finding]:
    pacs_port = free_port()
    pacs = Pacs(pacs_port, scratch / f"{cut.image.name}.jsonl", seed=0)
    with closing(pacs), Victim(home, pacs_port, control=None) as victim:
        victim.wait_until_up()
        deadline = time.monotonic() + REST_S
        while not victim.is_at_rest() and time.monotonic() < deadline:
            time.sleep(0.2)
    stored = cut.stored + pacs.stored()
    return [*_findings(home, cut, stored), invariants.pacs_has_what_was_sent(Ledger(home / "data"), stored)]


def run(scratch: Path, cuts: int, seed: int, control: str | None) -> int:
    chance, begun = random.Random(seed), time.monotonic()
    done, answered, failed = 0, 0, Counter[str]()
    while done < cuts:
        made = make_cuts(scratch, min(CUTS_A_RUN, cuts - done), chance, control)
        for cut in made:
            findings = judge(cut, scratch, goes_on=cut is made[-1])
            done, answered = done + 1, answered + len(cut.answered)
            failed += Counter(finding.name for finding in findings if finding.wrong)
            for finding in findings:
                if finding.wrong:
                    print(f"cut {done}: {finding}", flush=True)
    print(f"seed {seed}, control {control or 'none'}, {done} cuts, {time.monotonic() - begun:.0f} s")
    print(f"{answered} instances answered before a cut, what failed in how many cuts: {dict(failed) or 'nothing'}")
    print(f"chance of a loss a cut: at most {3 / done:.2%} (95 %), where none failed")
    return int(failed.total() > 0 or answered == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=CONTROLS)
    parser.add_argument("--on", type=Path, default=Path("/dev/shm"), help="where the images lie: memory is quickest")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.on) as scratch:
        return run(Path(scratch), words.cuts, words.seed, words.control)


if __name__ == "__main__":
    sys.exit(main())
