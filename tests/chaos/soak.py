"""Soak: a node under steady traffic, good and bad, must not grow: memory, file descriptors, threads of each process.

Run ``python tests/chaos/soak.py --minutes 60`` and keep its table in docs/reliability.md; ``--control leak`` makes the
listener keep something of each association, and must fail. What grows with the ledger's size is not told apart.
"""

import argparse
import random
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import psutil
from peers import Pacs, Sender
from processes import HOST, free_port, words_of
from pynetdicom import AE
from victim import Victim

from vb_node import show

CONTROLS = ("leak",)
EVERY_S, BETWEEN_S, SILENT_S = 1.0, 0.2, 1.0
MOST_MB_AN_HOUR, NOISE_MB, MOST_MORE = 1.0, 12.0, 3
VERIFICATION = "1.2.840.10008.1.1"
COUNTED = ("descriptors", "threads")


@dataclass(frozen=True)
class Reading:
    """What a process holds at a time."""

    at_h: float
    resident_mb: float
    descriptors: int
    threads: int


class Nuisance(threading.Thread):
    """Comes as peers should not: silent, with noise, under an unknown name, and gone in the middle."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._port, self._chance, self.enough, self.came = port, random.Random(seed), threading.Event(), 0

    def run(self) -> None:
        while not self.enough.wait(BETWEEN_S):
            self._chance.choice((self._silent, self._noisy, self._unknown, self._gone))()
            self.came += 1

    def _silent(self) -> None:
        with socket.create_connection((HOST, self._port)):
            self.enough.wait(SILENT_S)

    def _noisy(self) -> None:
        with socket.create_connection((HOST, self._port)) as peer:
            peer.sendall(self._chance.randbytes(200))

    def _unknown(self) -> None:
        self._associate("NOBODY")

    def _gone(self) -> None:
        self._associate("SENDER")

    def _associate(self, title: str) -> None:
        ae = AE(title)
        ae.add_requested_context(VERIFICATION)
        ae.associate(HOST, self._port, ae_title="VBNODE").abort()


def watch(victim: Victim, minutes: float) -> dict[str, list[Reading]]:
    """Look at every process of the node, again and again."""
    readings, begun = defaultdict(list), time.monotonic()
    processes = {"supervisor": psutil.Process(victim.supervisor.pid)}
    processes |= {f"{words_of(one)[-1]} {one.pid}": one for one in victim.stations()}
    while (past_s := time.monotonic() - begun) < 60 * minutes:
        for name, process in processes.items():
            with process.oneshot():
                held = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
            readings[name].append(Reading(past_s / 3600, *held))
        time.sleep(EVERY_S)
    return readings


@dataclass(frozen=True)
class Verdict:
    """The last third of the readings against the middle one; the first is the warm-up."""

    readings: list[Reading]

    @property
    def _later(self) -> list[Reading]:
        return self.readings[len(self.readings) // 3 :]

    @property
    def hours(self) -> float:
        return self._later[-1].at_h - self._later[0].at_h

    @property
    def mb_an_hour(self) -> float:
        """Fit a line to what was resident."""
        slope, _ = np.polyfit([one.at_h for one in self._later], [one.resident_mb for one in self._later], 1)
        return float(slope)

    def counts(self, name: str) -> tuple[float, float]:
        """Give the medians of the middle and of the last third."""
        held = [getattr(one, name) for one in self._later]
        return median(held[: len(held) // 2]), median(held[len(held) // 2 :])

    @property
    def is_growing(self) -> bool:
        counted = [self.counts(name) for name in COUNTED]
        has_more = any(end > begin + MOST_MORE for begin, end in counted)
        return has_more or self.mb_an_hour * self.hours > NOISE_MB + MOST_MB_AN_HOUR * self.hours

    def row(self) -> list[str]:
        first, last = self.readings[0], self.readings[-1]
        counted = [f"{begin:.0f} -> {end:.0f}" for begin, end in map(self.counts, COUNTED)]
        grown = [f"{self.mb_an_hour * self.hours:+.1f}", f"{self.mb_an_hour:+.1f}"]
        said = "GROWS" if self.is_growing else "flat"
        return [f"{first.resident_mb:.0f} -> {last.resident_mb:.0f}", *grown, *counted, said]


def run(home: Path, minutes: float, seed: int, control: str | None) -> int:
    """Keep a node busy, and judge it; give the exit status."""
    pacs_port = free_port()
    pacs = Pacs(pacs_port, home / "pacs.jsonl", seed)
    with closing(pacs), Victim(home, pacs_port, control) as victim:
        victim.wait_until_up()
        nuisance = Nuisance(victim.port, seed)
        senders = [Sender(victim.port) for _ in range(2)]
        for peer in (nuisance, *senders):
            peer.start()
        try:
            while not pacs.stored():  # until then processes load, and grow
                time.sleep(EVERY_S)
            found = watch(victim, minutes)
        finally:
            for peer in (nuisance, *senders):
                peer.enough.set()
    judged = {name: Verdict(readings) for name, readings in found.items()}
    columns = ["process", "MB", "growth after warm-up, MB", "MB an hour", "file descriptors", "threads", ""]
    answered = sum(len(sender.answered) for sender in senders)
    title = f"{minutes:g} minutes, {answered} instances, {nuisance.came} bad associations, control {control or 'none'}"
    show.table(title, columns, [[name, *one.row()] for name, one in judged.items()])
    return int(any(one.is_growing for one in judged.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=CONTROLS)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), words.minutes, words.seed, words.control)


if __name__ == "__main__":
    sys.exit(main())
