"""Who signs certificates; what is held against the catalogue's "alive" after each case (RELIABILITY.md, section 4)."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from certificates import Authority
from listener_process import ListenerProcess
from outbox import Outbox
from processes import wait_until

FREED_S = 20.0  # a peer of pynetdicom lets its last connection go, on a busy machine


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give who signs the certificates of a module."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenerProcess]:
    process = ListenerProcess(tmp_path_factory.mktemp("listener")).start()
    process.warm_up()
    yield process
    process.stop()


@pytest.fixture
def node(listener: ListenerProcess) -> Iterator[ListenerProcess]:
    """Give the listener, and hold it against "alive" when the case is over."""
    before = listener.vitals()
    yield listener
    listener.check_alive(before)


@pytest.fixture
def sender() -> Iterator[None]:
    """Hold this process, which sends, against "alive": what it had in hand for a case it has let go."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    wait_until(lambda: set(threading.enumerate()) <= threads, FREED_S, "the threads are back")
    wait_until(lambda: _descriptors() <= descriptors, FREED_S, "the file descriptors are back")


def _descriptors() -> int:
    gc.collect()
    return psutil.Process().num_fds()


@pytest.fixture
def outbox(sender: None, tmp_path: Path) -> Iterator[Outbox]:  # noqa: ARG001  it looks at what is left
    """Give results that wait, and hold what sends them against "alive" when the case is over."""
    outbox = Outbox(tmp_path)
    yield outbox
    outbox.check_alive()
    outbox.database.close()
