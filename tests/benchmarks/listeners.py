"""Processes of the listener and nothing else, forked as the supervisor forks them: ``listeners.py CONFIG``.

A line on standard output says that all of them are ready; they end with this process. With ``--unsynced`` they leave
everything to the kernel's cache, as DCMTK does, and a power cut would take what they answered.
"""

import os
import signal
import sys
from pathlib import Path

from storage import blocks, database
from vb_node import config, log
from vb_node.dimse.listener import bind
from vb_node.runtime import collector, supervised
from vb_node.runtime.line import RECEIVE
from vb_node.runtime.listen import listen_for_associations
from vb_node.runtime.node import run_station


def _leave_all_to_the_kernel() -> None:
    os.fsync = lambda _descriptor: None
    blocks._goes_past_the_cache = lambda _descriptor: False
    assert "synchronous=FULL" in database._PRAGMAS
    database._PRAGMAS = (*database._PRAGMAS, "synchronous=OFF")


def main() -> None:
    if "--unsynced" in sys.argv:
        _leave_all_to_the_kernel()
    settings = config.load(Path(sys.argv[1]))
    log.start()
    collector.settle()
    listening = bind((settings.receive.host, settings.receive.port))
    told, tell = os.pipe()

    def run() -> int:
        return run_station(RECEIVE, settings, listen_for_associations)

    for number in range(settings.receive.process_count):
        supervised.start(f"listener {number + 1}", supervised.Errand(number + 1, listening=listening, ready=tell), run)
    for _ in range(settings.receive.process_count):
        os.read(told, 1)
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
