"""What every test may ask for: the real cases, where a clone has them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("VB_NODE_REAL_DATA") or ROOT.parent / "shared" / "data")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on real cases where a clone has none, and say so; CI must have them."""
    if REAL_DATA.is_dir() or os.environ.get("CI"):
        return
    left_out = [item for item in items if item.get_closest_marker("real_data")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    config.stash[LEFT_OUT] = len(left_out)


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
