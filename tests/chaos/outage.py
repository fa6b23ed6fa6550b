"""An outage in mid-series: the listener dies between two slices, stays away, and the sender comes back after it (D12).

Run ``python tests/chaos/outage.py``. The sender opens an association for each slice. The silence of the outage must
close no series: quiet time counts from when the listener hears again. With ``--control no-gate`` it counts at once: the
sender stays away until the series is closed, and the run must fail at I6. Exit status: 0 everything holds, 1 something
fails.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kill import drain, failed, judge
from peers import Pacs, Sender
from processes import free_port, wait_until
from victim import START_S, Victim

QUIET_S = 5.0  # longer than what a busy machine takes from one slice to the next
DOWN_S = 2 * QUIET_S
AWAY_S = 1.5 * QUIET_S  # from when the listener is back: half of what the gate gives


def run(home: Path, control: str | None) -> int:
    """Make one outage and judge it; give the exit status."""
    pacs_port, begun = free_port(), time.monotonic()
    pacs = Pacs(pacs_port, home / "pacs.jsonl", seed=1)
    with Victim(home, pacs_port, control, quiet_s=QUIET_S) as victim:
        victim.wait_for_listener(0.0)
        sender = Sender(victim.port, at_once=1)
        sender.may_return.clear()
        sender.start()
        wait_until(victim.left, START_S, "the first slice is in the ledger")
        victim.without_listener(DOWN_S)
        if control:
            wait_until(lambda: "series open" not in victim.left(), START_S, "the series is closed")
        else:
            time.sleep(AWAY_S)
        sender.enough.set()
        sender.may_return.set()
        drain_s = drain(victim, [sender], set())
        findings = judge(victim, [sender], pacs, drain_s)
    print(*findings, sep="\n")
    print(f"control {control or 'none'}, {time.monotonic() - begun:.0f} s")
    return int(failed(findings))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control", choices=["no-gate"])
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        return run(Path(home), words.control)


if __name__ == "__main__":
    sys.exit(main())
