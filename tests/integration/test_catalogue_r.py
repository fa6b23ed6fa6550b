"""Crash (RELIABILITY.md, catalogue R): a process of a real node is killed at each point where it hurts."""

import subprocess
import sys

import pytest
from places import ROOT

RIG = ROOT / "tests" / "chaos" / "at_points.py"
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


def _begin(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, str(RIG), *words], stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """Give what the rig says of each point."""
    runs = [_begin("--points", *points) for points in (LISTENER, WORKERS + SENDER)]
    words = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(words)
    return dict(line.split(": ", 1) for line in "\n".join(words).splitlines() if ": " in line)


@pytest.mark.parametrize("point", LISTENER)
def test_r_01_r_02_r_03_r_04_a_listener_killed_at_any_point_loses_nothing(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"


@pytest.mark.parametrize("point", WORKERS)
def test_r_05_r_06_r_07_r_08_a_worker_killed_at_any_point_gives_one_result(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"


@pytest.mark.parametrize("point", SENDER)
def test_r_09_r_10_a_sender_killed_at_any_point_sends_one_content(told: dict[str, str], point: str) -> None:
    assert told[point] == "killed there"
