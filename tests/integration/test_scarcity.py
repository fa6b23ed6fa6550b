"""Resources that run out under a running listener (R-12, R-14): it refuses for now, and goes on by itself."""

import resource
from contextlib import ExitStack

import numpy as np
from listener_process import ListenerProcess, instance
from pdu import Raw
from processes import wait_until
from pydicom import Dataset

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


def _limit(node: ListenerProcess, kind: int, to: int | None = None) -> None:
    """Set a soft limit of the running process; without a figure lift it."""
    _, hard = node.process.rlimit(kind)
    node.process.rlimit(kind, (hard if to is None else to, hard))


def _answer(node: ListenerProcess, dataset: Dataset) -> int | None:
    """Give the status of a C-STORE; None: no association, or it broke."""
    try:
        return node.store(dataset)
    except (AssertionError, OSError):
        return None


def test_r_12_a_file_that_may_not_grow_is_refused_until_it_may(node: ListenerProcess) -> None:
    dataset = _instance(rows=1024)
    _limit(node, resource.RLIMIT_FSIZE, MIB)

    refused = node.store(dataset)
    _limit(node, resource.RLIMIT_FSIZE)

    assert refused == status.OUT_OF_RESOURCES
    wait_until(lambda: node.store(dataset) == status.SUCCESS, RECOVERY_S, "the instance is taken")


def test_r_12_a_ledger_that_may_not_grow_loses_nothing_that_was_answered(node: ListenerProcess) -> None:
    answered: list[str] = []
    _limit(node, resource.RLIMIT_FSIZE, 16 << 10)

    for _ in range(MANY):
        refused = _instance(rows=16)
        answer = node.store(refused)
        if answer != status.SUCCESS:
            break
        answered.append(refused.SOPInstanceUID)
    _limit(node, resource.RLIMIT_FSIZE)

    assert (bool(answered), answer) == (True, status.OUT_OF_RESOURCES)
    wait_until(lambda: node.store(instance()) == status.SUCCESS, RECOVERY_S, "instances are taken again")
    assert node.store(refused) == status.SUCCESS
    received = {event.sop_instance_uid for event in node.events(event="instance received")}
    assert set(answered) <= received


def test_r_14_without_file_descriptors_a_good_peer_waits_until_silent_ones_are_cut_off(node: ListenerProcess) -> None:
    limit = node.process.num_fds() + FEW
    _limit(node, resource.RLIMIT_NOFILE, limit)

    with ExitStack() as peers:
        for _ in range(PEERS):
            peers.enter_context(Raw(node.port))
        wait_until(lambda: node.process.num_fds() >= limit, RECOVERY_S, "no descriptor is left")
        wait_until(lambda: _answer(node, instance()) == status.SUCCESS, RECOVERY_S, "a good peer is served")
    _limit(node, resource.RLIMIT_NOFILE)


def test_r_14_without_memory_an_instance_is_refused_and_the_listener_stays(node: ListenerProcess) -> None:
    dataset = _instance(rows=1900)
    _limit(node, resource.RLIMIT_AS, node.process.memory_info().vms // 2)

    answer = _answer(node, dataset)
    _limit(node, resource.RLIMIT_AS)

    assert answer != status.SUCCESS
    wait_until(lambda: _answer(node, dataset) == status.SUCCESS, RECOVERY_S, "the instance is taken")
