"""A node's ledger with a story to tell: images, a refusal, a job, its results delivered, a late image, a revision."""

import os
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from cells import PLUGIN
from plugins.saboteur import Saboteur
from pydicom.uid import generate_uid
from stations import House, series_of

from vb_node import ask, config
from vb_node.errors import Refused
from vb_node.runtime.cell import Cell, in_cell
from vb_node.runtime.deliver import Deliverer
from vb_node.runtime.work import Worker

TOML = """\
[[routes]]
name = "r"
application = "saboteur"
when = 'SeriesDescription == "T1"'
destinations = ["folder"]
[[destinations]]
name = "folder"
kind = "folder"
folder = "out"
[work]
warm = false
memory_gb = 1
[retention]
days = 30
stop_at = 1
stop_free_gb = 0
[web]
port = {port}
"""
ORDER = {"AccessionNumber": "A123", "PatientID": "P1"}


class Audited(House):
    """A house whose story is over: job 2 supersedes job 1, for an image came late."""

    def __init__(self, home: Path, port: int = 8080) -> None:
        self.home, self.config = home, home / "node.toml"
        self.configure(port)
        self.node, told = config.load(self.config), tomllib.loads(self.config.read_text())
        ways = {name: told[name] for name in ("routes", "destinations")}
        super().__init__(self.node.data, {"saboteur": Saboteur()}, assemble={"quiet_s": 0.1}, **ways)
        study, series = generate_uid(), generate_uid()
        first = series_of(study, 5, SeriesDescription="T1", SeriesInstanceUID=series, **ORDER)
        self.images, late = first[:4], first[4:]
        self.left = series_of(study, 2, SeriesDescription="T2", **ORDER)
        self.study, self.series = str(study), str(series)
        self.send([*self.images, *self.left], "0" * 32)
        self._refuse()
        self._finish()
        self.send(late, "1" * 32)
        self._finish()

    def configure(self, port: int) -> None:
        self.config.write_text(TOML.format(port=port))

    def _refuse(self) -> None:
        (bad,) = series_of(generate_uid(), 1, SeriesDescription="T1", **ORDER)
        bad.Rows = 3
        self.refused = str(bad.SOPInstanceUID)
        with suppress(Refused):
            self.send([bad])
        self.receiver.settle()

    def _finish(self) -> None:
        assert self.assemble(0.2)  # before the worker is there: its clock is the real one
        cell = Cell(self.node.data / "cells", self.node.work)
        worker = Worker(
            self.database,
            self.spool,
            self.node.data / "results",
            in_cell(["saboteur"], cell),
            self.node.work,
            self.node.node.ae_title,
        )
        assert worker.step(time.time() + 60)
        cell.end()
        (destination,) = self.node.destinations
        deliverer = Deliverer(self.database, self.node.data / "results", destination, self.node.node.ae_title)
        assert deliverer.step(time.time() + 60)

    def ask(self, number: int, **about: Any) -> ask.Answer:
        return ask.answer(self.database, self.node, number, about, user="auditor", actor="test")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line beside the configuration."""
        path = os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "vb_node", *words]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(command, capture_output=True, text=True, cwd=self.home, env=environment, check=False)
