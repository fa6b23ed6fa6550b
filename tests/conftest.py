"""What every test may ask for: the real cases, where a clone has them."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import REAL_DATA
from processes import TOML, Node, Orthanc, free_port

from vb_node.runtime import collector


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on real cases where a clone has none, and say so; CI must have them."""
    if REAL_DATA.is_dir() or os.environ.get("CI"):
        return
    left_out = [item for item in items if item.get_closest_marker("real_data")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    config.stash[LEFT_OUT] = len(left_out)


def pytest_collection_finish() -> None:
    """Look for cycles less often, as the node does, and never again among what the tests themselves are made of."""
    collector.relax()
    gc.freeze()


LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that a clone without real cases did not run."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"left out: {count} tests on real cases, no folder {REAL_DATA} (VB_NODE_REAL_DATA)")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder of real cases; fail where it is missing."""
    assert REAL_DATA.is_dir(), f"real cases expected in {REAL_DATA}: set VB_NODE_REAL_DATA"
    return REAL_DATA


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Make nodes that are stopped at the end of the test."""
    made: list[Node] = []

    def make(pacs_port: int, quiet_s: float = 1.0) -> Node:
        home = tmp_path / f"node-{len(made)}"
        home.mkdir()
        port = free_port()
        made.append(Node(home, TOML.format(port=port, pacs_port=pacs_port, quiet_s=quiet_s), port))
        return made[-1]

    yield make
    for node in made:
        node.stop()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """Give a running, empty Orthanc."""
    server = Orthanc(tmp_path / "orthanc", free_port(), free_port())
    server.start()
    yield server
    server.stop()
