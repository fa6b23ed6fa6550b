"""What the chaos rig changes in the node's processes from outside: shorter waits, and one broken promise a control.

Python runs this file at the start of every process that has its folder on PYTHONPATH: only the rig's nodes have.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from pydicom.uid import generate_uid

from storage import database, deliveries, jobs
from storage.schema import Job
from vb_node.dicom import uid

CONTROL = "VB_CHAOS_CONTROL"
RETRY_S, LEASE_S, LATE_S = 1.0, 8.0, 0.5


def _compress_time() -> None:
    """Try a delivery again after one second, and give up a dead sender's lease after eight: hours become minutes."""
    claim = deliveries.claim
    if not hasattr(deliveries, "SECOND_TRY_S"):
        raise RuntimeError("storage.deliveries.SECOND_TRY_S expected: the rig cannot shorten the wait")
    deliveries.SECOND_TRY_S = RETRY_S

    def claim_shortly(*words: Any, lease_s: float, **named: Any) -> Any:
        return claim(*words, lease_s=min(lease_s, LEASE_S), **named)

    deliveries.claim = claim_shortly


def _answer_before_commit() -> None:
    from vb_node.runtime.receive import Receiver  # late: only the listener needs it

    store = Receiver.store

    def store_later(receiver: Receiver, request: Any) -> None:
        def late() -> None:
            time.sleep(LATE_S)
            store(receiver, request)

        threading.Thread(target=late, daemon=True).start()

    Receiver.store = store_later  # type: ignore[method-assign]


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


def _rename_without_fsync() -> None:
    os.fsync = lambda _descriptor: None


def _commit_without_sync() -> None:
    """Open the ledger with ``synchronous=NORMAL``."""
    kept = tuple(pragma.replace("synchronous=FULL", "synchronous=NORMAL") for pragma in database._PRAGMAS)
    if kept == database._PRAGMAS:
        raise RuntimeError("synchronous=FULL expected in storage.database: the control has nothing to break")
    database._PRAGMAS = kept


CONTROLS: dict[str, Callable[[], None]] = {
    "answer-before-commit": _answer_before_commit,
    "no-fencing": _forget_fencing,
    "random-uids": _make_random_uids,
    "rename-without-fsync": _rename_without_fsync,
    "commit-without-sync": _commit_without_sync,
}

_compress_time()
if wanted := CONTROLS.get(os.environ.get(CONTROL, "")):
    wanted()
