"""A listener that is held against the catalogue's "alive" after every case (RELIABILITY.md, section 4)."""

from collections.abc import Iterator

import pytest
from listener_process import ListenerProcess


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
