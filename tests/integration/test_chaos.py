"""Short forms of the rigs in tests/chaos; docs/reliability.md has the figures of the long ones."""

import subprocess
import sys
from pathlib import Path

import pytest

RIGS = Path(__file__).parents[1] / "chaos"


def _run(rig: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RIGS / rig), *words], capture_output=True, text=True, check=False)


def test_whatever_is_killed_nothing_that_was_answered_is_lost() -> None:
    chaos = _run("kill.py", "--kills", "25", "--seed", "1")

    assert chaos.returncode == 0, chaos.stdout + chaos.stderr
    assert all(f"I{number} " in chaos.stdout for number in range(1, 11))


def test_an_answer_before_the_commit_is_found_by_the_chaos() -> None:
    control = _run("kill.py", "--kills", "10", "--seed", "2", "--control", "answer-before-commit")

    assert control.returncode == 1
    assert "I1 answered is kept FAILS" in control.stdout


@pytest.mark.parametrize(("kind", "cases"), [("datasets", "2000"), ("associations", "200")])
def test_fuzz_kills_nothing_and_nothing_wrong_is_taken(kind: str, cases: str) -> None:
    fuzz = _run("fuzz.py", kind, "--cases", cases, "--seed", "1")

    assert fuzz.returncode == 0, fuzz.stdout + fuzz.stderr
    assert "0 wrong" in fuzz.stdout
