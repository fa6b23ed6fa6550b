"""Chaos: random SIGKILLs over a real node, then every invariant checked by script (RELIABILITY.md 5.1).

Run ``python tests/chaos/kill.py --kills 1000 --seed 1``; with ``--control`` one promise is broken from outside and
the run must fail. Exit status: 0 everything holds, 1 something fails.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import invariants
from invariants import Finding, Seen
from peers import HOST, Pacs, Sender
from processes import free_port
from victim import Victim

TIMED = "I10 drained"  # told and not judged: how long it takes is of the machine, which other rigs may share
BETWEEN_S, KILLS_A_STORM, CALM_S = (0.1, 0.8), 12, 7.0
DRAIN_S, SWEEP_S = 240.0, 20.0
CONTROLS = ("answer-before-file", "no-fencing", "random-uids")


def storm(victim: Victim, kills: int, chance: random.Random, retried: set[int]) -> tuple[Counter[str], int]:
    """Kill so many processes, with a calm after every dozen; give kills by name, and zombies.

    In the calm studies can close, an operator retries what was refused, and one worker becomes a zombie.
    """
    killed: Counter[str] = Counter()
    zombies = int(victim.make_a_zombie())
    while killed.total() < kills:
        time.sleep(chance.uniform(*BETWEEN_S))
        name = victim.kill_one(chance)
        if name is None:
            continue
        killed[name] += 1
        if killed.total() % KILLS_A_STORM == 0:
            victim.retry_refused(retried)
            zombies += victim.make_a_zombie()
            time.sleep(CALM_S)
    return killed, zombies


def drain(victim: Victim, senders: list[Sender], retried: set[int]) -> float:
    """Wait until nothing is left to do; give the seconds that it took."""
    begun = time.monotonic()
    for sender in senders:
        sender.enough.set()
    print("left to do after the last kill:", dict(victim.left()))
    while time.monotonic() - begun < DRAIN_S:
        victim.retry_refused(retried)
        if not any(sender.is_alive() for sender in senders) and victim.is_at_rest():
            break
        time.sleep(0.5)
    return time.monotonic() - begun


def run(home: Path, kills: int, seed: int, control: str | None) -> int:
    """Make one chaos and judge it; give the exit status."""
    chance, retried, begun = random.Random(seed), set[int](), time.monotonic()
    pacs_port = free_port()
    pacs = Pacs(pacs_port, home / "pacs.jsonl", seed)
    with Victim(home, pacs_port, control) as victim:
        victim.wait_until_up()
        senders = [Sender(victim.port) for _ in range(2)]
        for sender in senders:
            sender.start()
        time.sleep(CALM_S)
        killed, zombies = storm(victim, kills, chance, retried)
        drain_s = drain(victim, senders, retried)
        print(f"{killed.total()} kills ({dict(killed)}), {zombies} zombies, {len(retried)} jobs retried")
        findings = judge(victim, senders, pacs, drain_s)
    print(f"seed {seed}, control {control or 'none'}, {time.monotonic() - begun:.0f} s, node {HOST}:{victim.port}")
    print(*findings, sep="\n")
    print(f"chance of a loss a kill: at most {3 / max(1, killed.total()):.2%} (95 %), where I1 holds")
    return int(failed(findings))


def failed(findings: list[Finding]) -> bool:
    """Say whether an invariant does not hold."""
    return any(finding.wrong for finding in findings if finding.name != TIMED)


def judge(victim: Victim, senders: list[Sender], pacs: Pacs, drain_s: float) -> list[Finding]:
    """End all, after one more start of the node, and hold every invariant against what is left."""
    victim.stop()
    victim.start()
    victim.wait_until_up()
    _wait_until_swept(victim)
    victim.close()
    pacs.close()
    answered = {uid: digest for sender in senders for uid, digest in sender.answered.items()}
    series = {uid: sent for sender in senders for uid, sent in sender.series.items()}
    return invariants.check(victim.ledger(), Seen(answered, series, pacs.stored(), drain_s))


def _wait_until_swept(victim: Victim) -> None:
    """Wait for what listener and worker remove at their start; what stays is for the invariant to tell."""
    deadline = time.monotonic() + SWEEP_S
    while invariants.nothing_left_behind(victim.ledger()).wrong and time.monotonic() < deadline:
        time.sleep(1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=CONTROLS)
    parser.add_argument(
        "--keep", type=Path, help="an empty folder for ledger, spool and log, kept for a look afterwards"
    )
    words = parser.parse_args()
    if words.keep:
        words.keep.mkdir(parents=True)
        return run(words.keep, words.kills, words.seed, words.control)
    with tempfile.TemporaryDirectory() as home:
        return run(Path(home), words.kills, words.seed, words.control)


if __name__ == "__main__":
    sys.exit(main())
