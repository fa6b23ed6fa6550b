"""What the chaos rig changes in the node's processes from outside: shorter waits, and one broken promise a control.

Python runs this file at the start of every process that has its folder on PYTHONPATH: only the rig's nodes have. The
processes in which applications compute, the cells, are left alone but for one control.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydicom.uid import generate_uid

from storage import database, deliveries, jobs
from storage.schema import Job
from vb_node.dicom import uid

CONTROL, SYNCED = "VB_CHAOS_CONTROL", "VB_CHAOS_SYNCED"
RETRY_S, LEASE_S, BEAT_S, LATE_S = 1.0, 8.0, 2.0, 0.5
LEAK_BYTES = 1 << 19


def _compress_time() -> None:
    """Try a delivery again after one second, and give up a dead sender's lease after eight: hours become minutes."""
    from vb_node.runtime import deliver  # late: a fail-point is set before

    _change(deliveries, "SECOND_TRY_S", RETRY_S)
    _change(deliver, "LEASE_S", LEASE_S)
    _change(deliver, "BEAT_S", BEAT_S)


def _change(module: Any, name: str, value: object) -> None:
    """Change what is there; where it is not, end the process: Python itself would only print an exception."""
    if not hasattr(module, name):
        raise SystemExit(f"{module.__name__}.{name} expected: the rig has nothing to change")
    setattr(module, name, value)


def _note_what_is_synced(notes: str) -> None:
    """Note the inode of each file that an fsync has taken to the disk."""
    sync, stream = os.fsync, os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        os.write(stream, b"%d\n" % os.fstat(descriptor).st_ino)

    os.fsync = fsync


def _answer_before_file() -> None:
    """Answer at once, and take the instance half a second later; in order, so that an association ends after it."""
    from vb_node.runtime.receive import Receiver

    later = ThreadPoolExecutor(1)

    def postponed(act: Callable[..., Any]) -> Callable[..., None]:
        def at_its_time(due: float, *words: Any, **named: Any) -> None:
            time.sleep(max(0.0, due - time.monotonic()))
            act(*words, **named)

        def note(*words: Any, **named: Any) -> None:
            later.submit(at_its_time, time.monotonic() + LATE_S, *words, **named)

        return note

    for name in ("store", "end"):
        _change(Receiver, name, postponed(getattr(Receiver, name)))


def _forget_fencing() -> None:
    """Let every worker act with the token of whoever holds the job now."""

    def unfenced(act: Callable[..., Any]) -> Callable[..., Any]:
        def with_current_token(session: Any, lease: jobs.Lease, *words: Any, **named: Any) -> Any:
            token = session.get(Job, lease.job_id).token
            return act(session, jobs.Lease(lease.job_id, token), *words, **named)

        return with_current_token

    jobs.keep, jobs.finish = unfenced(jobs.keep), unfenced(jobs.finish)


def _make_random_uids() -> None:
    uid.derive = lambda *_words: generate_uid()


def _write_without_fsync() -> None:
    """Leave files to the kernel; nor may the ledger's own sync take them along, as one on another disk does not."""
    os.fsync = lambda _descriptor: None
    _open_ledger_with("OFF")


def _commit_without_sync() -> None:
    _open_ledger_with("NORMAL")


def _open_ledger_with(synchronous: str) -> None:
    kept = tuple(pragma.replace("synchronous=FULL", f"synchronous={synchronous}") for pragma in database._PRAGMAS)
    if kept == database._PRAGMAS:
        raise SystemExit("synchronous=FULL expected in storage.database: the control has nothing to break")
    database._PRAGMAS = kept


def _leak() -> None:
    """Keep half a megabyte and ten file descriptors of each association that ends."""
    from vb_node.runtime.receive import Receiver

    kept: list[bytes] = []
    end = Receiver.end

    def leaking(*words: Any, **named: Any) -> None:
        kept.append(os.urandom(LEAK_BYTES))
        for _ in range(10):
            os.dup(0)
        end(*words, **named)

    _change(Receiver, "end", leaking)


def _admit_by_pydicom() -> None:
    import by_pydicom

    from vb_node.runtime import receive

    _change(receive, "admit", by_pydicom.admit)


CONTROLS: dict[str, Callable[[], None]] = {
    "answer-before-file": _answer_before_file,
    "no-fencing": _forget_fencing,
    "random-uids": _make_random_uids,
    "write-without-fsync": _write_without_fsync,
    "commit-without-sync": _commit_without_sync,
    "leak": _leak,
    "by-pydicom": _admit_by_pydicom,
}

IN_CELLS = {"random-uids"}  # what is broken where applications compute

control = os.environ.get(CONTROL, "")
if "serve" in sys.orig_argv:
    import fail_points

    fail_points.set_all()
    _compress_time()
    if notes := os.environ.get(SYNCED):
        _note_what_is_synced(notes)
    if wanted := CONTROLS.get(control):
        wanted()
elif control in IN_CELLS and "vb_node.runtime.inside" in sys.orig_argv:
    CONTROLS[control]()
