"""Points at which a process of the node is killed: each once, in whichever process comes there first.

They are set from outside, before the node's own modules are imported: each wraps one function of the node.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import event

from storage import arrivals, blocks, deliveries, jobs, spool
from vb_node.runtime.heartbeat import Heartbeat

POINTS, KILLED = "VB_CHAOS_POINTS", "VB_CHAOS_KILLED"
ON_THE_WIRE_S, HALF = 0.3, 0.5

Act = Callable[..., Any]


def _is_first(point: str) -> bool:
    """Say whether nobody has come to a point yet: who has leaves a file of its name."""
    try:
        (Path(os.environ[KILLED]) / point).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _die(point: str) -> None:
    """Kill this process, unless one has died here already."""
    if _is_first(point):
        os.kill(os.getpid(), signal.SIGKILL)


def _before(act: Act, point: str) -> Act:
    @wraps(act)
    def wrapped(*words: Any, **named: Any) -> Any:
        _die(point)
        return act(*words, **named)

    return wrapped


def _after(act: Act, point: str) -> Act:
    @wraps(act)
    def wrapped(*words: Any, **named: Any) -> Any:
        given = act(*words, **named)
        _die(point)
        return given

    return wrapped


def _half_way(act: Act, point: str) -> Act:
    """Die when half of the last piece is written."""

    @wraps(act)
    def wrapped(descriptor: int, pieces: Sequence[bytes]) -> None:
        if _is_first(point):
            *whole, last = pieces
            act(descriptor, [*whole, last[: len(last) // 2]])
            os.kill(os.getpid(), signal.SIGKILL)
        act(descriptor, pieces)

    return wrapped


def _committed(act: Act, point: str) -> Act:
    """Die when the transaction that a function wrote in is committed."""

    @wraps(act)
    def wrapped(session: Any, *words: Any, **named: Any) -> Any:
        given = act(session, *words, **named)
        event.listen(session, "after_commit", lambda _session: _die(point))
        return given

    return wrapped


def _granted(act: Act, point: str) -> Act:
    """Die when a claim that was granted is committed."""

    @wraps(act)
    def wrapped(session: Any, *words: Any, **named: Any) -> Any:
        claimed = act(session, *words, **named)
        if claimed is not None:
            event.listen(session, "after_commit", lambda _session: _die(point))
        return claimed

    return wrapped


def _on_the_wire(act: Act, point: str) -> Act:
    """Die when a C-STORE request has left, before its answer is looked at."""

    @wraps(act)
    def wrapped(provider: Any, message: Any, *words: Any) -> Any:
        given = act(provider, message, *words)
        if isinstance(message, C_STORE):
            time.sleep(ON_THE_WIRE_S)
            _die(point)
        return given

    return wrapped


def _in_the_middle(act: Act, point: str) -> Act:
    """Die when half of a computation is heard of."""

    @wraps(act)
    def wrapped(heart: Any, step: str, fraction: float) -> None:
        if fraction > HALF:
            _die(point)
        act(heart, step, fraction)

    return wrapped


def _cell_in_the_middle(act: Act, point: str) -> Act:
    """Kill the process that computes when half of its computation is heard of."""

    @wraps(act)
    def wrapped(heart: Any, step: str, fraction: float) -> None:
        if fraction > HALF and _is_first(point):
            for cell in psutil.Process().children():
                cell.kill()
        act(heart, step, fraction)

    return wrapped


HOW: dict[str, tuple[Any, str, Callable[[Act, str], Act]]] = {
    "receive-before-the-file": (spool.Spool, "put", _before),
    "receive-half-a-file": (blocks, "write_new", _half_way),
    "receive-file-not-synced": (blocks, "write_new", _after),
    "receive-after-the-file": (spool.Spool, "put", _after),
    "receive-answered-before-the-row": (arrivals, "record", _before),
    "receive-after-the-row": (arrivals, "record", _committed),
    "assemble-job-not-committed": (jobs, "schedule", _after),
    "assemble-job-committed": (jobs, "schedule", _committed),
    "work-claimed": (jobs, "claim", _granted),
    "work-in-the-middle": (Heartbeat, "progress", _in_the_middle),
    "work-cell-in-the-middle": (Heartbeat, "progress", _cell_in_the_middle),
    "work-first-result-written": (spool, "write_durably", _after),
    "work-results-not-committed": (jobs, "finish", _before),
    "work-results-committed": (jobs, "finish", _committed),
    "deliver-claimed": (deliveries, "claim", _granted),
    "deliver-before-the-answer": (DIMSEServiceProvider, "send_msg", _on_the_wire),
    "deliver-answer-not-committed": (deliveries, "settle", _before),
    "deliver-answer-committed": (deliveries, "settle", _committed),
}


def set_all() -> None:
    """Set the points that the environment names."""
    for point, (owner, name, how) in HOW.items():
        if point in os.environ.get(POINTS, "").split(","):
            setattr(owner, name, how(getattr(owner, name), point))
