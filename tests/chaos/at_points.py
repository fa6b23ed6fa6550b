"""Kills at chosen points: each fail-point of the plug-in once in a real node, then every invariant (R-01 to R-10).

Run ``python tests/chaos/at_points.py``; ``--points`` names some of them, with ``--control`` one promise is broken from
outside and the run must fail. Exit status: 0 everything holds, 1 something fails.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "plugin"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fail_points import HOW
from kill import CONTROLS, drain, failed, judge
from peers import Pacs, Sender
from processes import free_port
from victim import Victim

PATIENCE_S, STEP_S = 240.0, 0.2
FORCED = "I5 few sends"  # a sender that is killed before it knows must send again: three of its points say so


def run(home: Path, points: list[str], control: str | None) -> int:
    """Have a node die at each point; give the exit status."""
    pacs_port, begun = free_port(), time.monotonic()
    pacs = Pacs(pacs_port, home / "pacs.jsonl", seed=1)
    with Victim(home, pacs_port, control, points=points) as victim:
        victim.wait_until_up()
        sender = Sender(victim.port)
        sender.start()
        while victim.killed_at() != set(points) and time.monotonic() - begun < PATIENCE_S:
            time.sleep(STEP_S)
        drain_s = drain(victim, [sender], set())
        killed_at = victim.killed_at()
        findings = [one for one in judge(victim, [sender], pacs, drain_s) if one.name != FORCED]
    print(*(f"{point}: {'killed there' if point in killed_at else 'never came there'}" for point in points), sep="\n")
    print(*findings, sep="\n")
    print(f"control {control or 'none'}, {time.monotonic() - begun:.0f} s")
    return int(killed_at != set(points) or failed(findings))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", nargs="+", choices=HOW, default=list(HOW), metavar="POINT")
    parser.add_argument("--control", choices=CONTROLS)
    parser.add_argument("--keep", type=Path, help="an empty folder, kept for a look afterwards")
    words = parser.parse_args()
    if words.keep:
        words.keep.mkdir(parents=True)
        return run(words.keep, words.points, words.control)
    with tempfile.TemporaryDirectory() as home:
        return run(Path(home), words.points, words.control)


if __name__ == "__main__":
    sys.exit(main())
