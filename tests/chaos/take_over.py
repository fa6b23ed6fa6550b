"""How soon the job of a worker that is killed runs again, with the lease that the node has by default (G7).

Run ``python tests/chaos/take_over.py --times 5``. Exit status: 0 each within the goal, 1 one later.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers import Pacs, Sender
from processes import free_port
from victim import STEP_S, Victim

from vb_node.config import WorkSettings

GOAL_S = 35.0


def take_over(victim: Victim) -> float:
    """Kill a worker in mid-job; give the seconds until another one has the job."""
    while (found := victim.in_the_middle(least=0.0)) is None:
        time.sleep(STEP_S)
    worker, job = found
    worker.kill()
    begun = time.monotonic()
    while (now := victim.job(job.id)).token == job.token:
        if now.state != "IN PROGRESS":
            return take_over(victim)  # it had ended just before
        time.sleep(STEP_S)
    return time.monotonic() - begun


def run(home: Path, times: int) -> int:
    """Kill so many workers, one after the other; give the exit status."""
    pacs_port = free_port()
    Pacs(pacs_port, home / "pacs.jsonl", seed=1)
    lease_s = WorkSettings().lease_s
    with Victim(home, pacs_port, None, lease_s=lease_s) as victim:
        victim.wait_until_up()
        sender = Sender(victim.port)
        sender.start()
        took = [take_over(victim) for _ in range(times)]
        sender.enough.set()
    print(f"lease {lease_s:g} s; taken over after {', '.join(f'{one:.1f}' for one in took)} s")
    return int(max(took) > GOAL_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        return run(Path(home), words.times)


if __name__ == "__main__":
    sys.exit(main())
