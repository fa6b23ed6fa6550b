"""Cells of real processes over files, with the misbehaving application installed in them."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factories import head, mr_series, write

from vb_node.config import Settings, WorkSettings
from vb_node.pipeline.application import Case, Outcome, installed
from vb_node.runtime.cell import Cell

PLUGIN = Path(__file__).parent / "plugins"


@contextmanager
def saboteur_installed() -> Iterator[None]:
    """Install the misbehaving application in every process that starts within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
        yield


class Laboratory:
    """One cell, and cases for it."""

    def __init__(
        self,
        home: Path,
        furniture: Sequence[Path] = (),
        plans: Sequence[tuple[str, dict[str, Any]]] = (),
        **settings: Any,
    ) -> None:
        self.home = home
        self.cell = Cell(home / "cells", WorkSettings(**settings), furniture, plans)
        self.good = write(mr_series(head((4, 16, 16))), home / "good")

    def attempt(self, act: str, at: Any = None) -> Outcome:
        """Let the saboteur act; give what it gave."""
        return self.cell.compute("saboteur", case_of(self.good, {"act": act, "at": at}))

    def answer(self, act: str, at: Any = None) -> Any:
        return self.attempt(act, at).summary["answer"]

    def analyse(self, paths: Sequence[Path]) -> Outcome:
        """Let the Virtual Biopsy work on files."""
        plan = installed()["virtual_biopsy"].plan(Settings())
        return self.cell.compute("virtual_biopsy", case_of(paths, plan))

    def peak_mb(self) -> float:
        """Give the most memory that the cell's process has held."""
        status = Path(f"/proc/{self.cell.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def works_within(self, seconds: float) -> bool:
        """Say whether another job is done so soon, in this cell or in the next."""
        began = time.monotonic()
        return self.answer("nothing") is None and time.monotonic() - began < seconds


def case_of(paths: Sequence[Path], plan: dict[str, Any]) -> Case:
    """Make a case of files and a plan."""
    created = datetime.now(UTC)
    return Case(tuple(paths), plan, "ab" * 32, "cd" * 32, created, "cpu", lambda _step, _fraction: None, "serial")
