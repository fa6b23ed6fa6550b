"""The inside of a cell: confines itself, loads the applications once, and works on one case after the other.

``cell.py`` starts it; a line on standard input is a case in the folder, lines of JSON on standard output are progress.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vb_node.runtime import collector
from vb_node.runtime.confine import Bounds, confine, packages
from vb_node.runtime.fate import die_with

if TYPE_CHECKING:
    from vb_node.pipeline.application import Application

log = logging.getLogger("vb_node.runtime.inside")  # it runs as __main__

GIVES_WAY = 10  # niceness: what computes for half a minute leaves the processor to what answers a peer


def main(asked: Mapping[str, Any]) -> None:
    """Work until standard input ends."""
    die_with(asked["parent"])
    collector.relax()
    os.nice(GIVES_WAY)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they mean the worker, which ends this process itself
    folder = Path(asked["folder"])
    readable = (folder / "in", *packages(asked["packages"]), *map(Path, asked["furniture"]))
    lacking = confine(Bounds(readable, folder / "out", asked["memory_bytes"], asked["has_network"]))
    say = _speaker()

    # late: libraries start threads, and only a thread that is born confined is
    from vb_node import log as lines
    from vb_node.pipeline.application import installed

    lines.start()
    applications = installed()
    say({"lacking": lacking})
    _warm(applications, asked["plans"], asked["device"])
    for _ in sys.stdin:
        say({"done": True} | _work(folder, applications, say))


def _speaker() -> Callable[[Mapping[str, Any]], None]:
    """Keep standard output for the worker: what a library prints goes to the log."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")

    return say


def _warm(
    applications: Mapping[str, "Application"], plans: Sequence[tuple[str, Mapping[str, Any]]], device: str
) -> None:
    """Have loaded what cases of these plans will need; one that comes meanwhile waits no longer than it would have."""
    from vb_node.pipeline.application import Warmed  # late, as above

    for name, plan in plans:
        application = applications.get(name)
        if not isinstance(application, Warmed):
            continue
        begun = time.monotonic()
        try:
            application.warm(plan, device)
            log.info("application warm", extra={"application": name, "seconds": round(time.monotonic() - begun, 1)})
        except Exception:
            log.warning("application not warm", exc_info=True, extra={"application": name})


def _work(
    folder: Path, applications: Mapping[str, "Application"], say: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """Work on the case in the folder; give the error, if it is one: it needs no disk, which may be what is full."""
    from vb_node.pipeline.application import find  # late, as above
    from vb_node.runtime import handover

    try:
        name, case, error = handover.take_case(folder, lambda step, part: say({"step": step, "fraction": part}))
        application = find(applications, name)
        handover.put_answer(folder, application.run(case) if error is None else application.refuse(case, error))
    except Exception as wrong:
        log.info("computation without result", exc_info=True)
        return {"error": handover.tell(wrong)}
    return {}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
