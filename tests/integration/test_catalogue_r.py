"""Crash (RELIABILITY.md, catalogue R): a process of a real node is killed at each point where it hurts."""

import pytest
from rigs import Rig

LISTENER = [
    "receive-before-the-file",
    "receive-half-a-file",
    "receive-file-not-synced",
    "receive-after-the-file",
    "receive-answered-before-the-row",
    "receive-after-the-row",
]
WORKERS = [
    "assemble-job-not-committed",
    "assemble-job-committed",
    "work-claimed",
    "work-in-the-middle",
    "work-cell-in-the-middle",
    "work-first-result-written",
    "work-results-not-committed",
    "work-results-committed",
]
SENDER = ["deliver-claimed", "deliver-before-the-answer", "deliver-answer-not-committed", "deliver-answer-committed"]


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """Give what the rig says of each point."""
    rigs = [Rig("at_points.py", "--points", *points) for points in (LISTENER, WORKERS + SENDER)]
    ends = [rig.end() for rig in rigs]
    words = "\n".join(told for _, told in ends)
    assert [status for status, _ in ends] == [0, 0], words
    return dict(line.split(": ", 1) for line in words.splitlines() if ": " in line)


@pytest.mark.parametrize("point", LISTENER)
def test_r_01_r_02_r_03_r_04_a_listener_killed_at_any_point_loses_nothing(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"


@pytest.mark.parametrize("point", WORKERS)
def test_r_05_r_06_r_07_r_08_a_worker_killed_at_any_point_gives_one_result(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"


@pytest.mark.parametrize("point", SENDER)
def test_r_09_r_10_a_sender_killed_at_any_point_sends_one_content(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"
