"""Resources that run out under a running listener (R-12, R-14): it refuses for now, and goes on by itself."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from listener_process import ListenerProcess, instance
from pdu import Raw
from processes import wait_until
from pydicom import Dataset

from storage.schema import Association
from vb_node.dimse import status

RECOVERY_S = 10.0
PEERS, FEW = 18, 8  # one host may have 20 connections
MANY = 5000
MIB = 1 << 20


def _instance(rows: int) -> Dataset:
    dataset = instance()
    dataset.Rows = dataset.Columns = rows
    dataset.PixelData = np.zeros((rows, rows), np.uint16).tobytes()
    return dataset


@contextmanager
def _limited(node: ListenerProcess, kind: int, to: int) -> Iterator[None]:
    """Give the running process a soft limit while the block runs."""
    _, hard = node.process.rlimit(kind)
    node.process.rlimit(kind, (to, hard))
    try:
        yield
    finally:
        node.process.rlimit(kind, (hard, hard))


def _answer(node: ListenerProcess, dataset: Dataset) -> int | None:
    """Give the status of a C-STORE; None: no association, or it broke."""
    try:
        return node.store(dataset)
    except (AssertionError, OSError):
        return None


def _is_written(node: ListenerProcess, sop_instance_uid: str) -> bool:
    """Say whether the ledger has an instance, and the end of every association: then nothing waits to be written."""
    with node.database.read() as session:
        still_open = session.query(Association).filter(Association.ended_at.is_(None)).count()
    return bool(node.events(event="instance received", sop_instance_uid=sop_instance_uid)) and not still_open


def test_r_12_a_file_that_may_not_grow_is_refused_until_it_may(node: ListenerProcess) -> None:
    dataset = _instance(rows=1024)

    with _limited(node, resource.RLIMIT_FSIZE, MIB):
        refused = node.store(dataset)

    assert refused == status.OUT_OF_RESOURCES
    wait_until(lambda: node.store(dataset) == status.SUCCESS, RECOVERY_S, "the instance is taken")


def test_r_12_a_ledger_that_may_not_grow_loses_nothing_that_was_answered(node: ListenerProcess) -> None:
    answered: list[str] = []
    former = instance()
    assert node.store(former) == status.SUCCESS
    wait_until(lambda: _is_written(node, former.SOPInstanceUID), RECOVERY_S, "the ledger has all that came before")

    with _limited(node, resource.RLIMIT_FSIZE, 16 << 10):
        for _ in range(MANY):
            refused = _instance(rows=16)
            answer = node.store(refused)
            if answer != status.SUCCESS:
                break
            answered.append(refused.SOPInstanceUID)

    assert (bool(answered), answer) == (True, status.OUT_OF_RESOURCES)
    wait_until(lambda: node.store(instance()) == status.SUCCESS, RECOVERY_S, "instances are taken again")
    assert node.store(refused) == status.SUCCESS
    received = {event.sop_instance_uid for event in node.events(event="instance received")}
    assert set(answered) <= received


def test_r_14_without_file_descriptors_a_good_peer_waits_until_silent_ones_are_cut_off(node: ListenerProcess) -> None:
    limit = node.process.num_fds() + FEW

    with _limited(node, resource.RLIMIT_NOFILE, limit), ExitStack() as peers:
        for _ in range(PEERS):
            peers.enter_context(Raw(node.port))
        wait_until(lambda: node.process.num_fds() >= limit, RECOVERY_S, "no descriptor is left")
        wait_until(lambda: _answer(node, instance()) == status.SUCCESS, RECOVERY_S, "a good peer is served")


def test_r_14_without_memory_an_instance_is_refused_and_the_listener_stays(node: ListenerProcess) -> None:
    dataset = _instance(rows=1900)

    with _limited(node, resource.RLIMIT_AS, node.process.memory_info().vms // 2):
        answer = _answer(node, dataset)

    assert answer != status.SUCCESS
    wait_until(lambda: _answer(node, dataset) == status.SUCCESS, RECOVERY_S, "the instance is taken")
