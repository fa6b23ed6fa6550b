"""Where applications run: a process of its own without network, that reads its case and writes one folder.

Whatever happens in there (a decoder's segmentation fault, an endless loop, all memory taken) costs one attempt of one
job: the worker outside keeps ledger and lease, counts the death and starts another cell. Models stay loaded from case
to case.
"""

import fcntl
import json
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import vb_node
from vb_node.config import WorkSettings
from vb_node.errors import Later, NodeError, Unfit
from vb_node.pipeline.application import GROUP, Case, Outcome
from vb_node.runtime import handover

log = logging.getLogger(__name__)

TICK_S, START_S, END_S = 0.1, 60.0, 1.0
LONGEST_LINE = 1 << 16
_SECRET = re.compile(r"^(VB_NODE_|PG)|PASSW|SECRET|TOKEN|KEY|CREDENTIAL|AUTH", re.IGNORECASE)


class Crashed(NodeError):
    """The computation died, or was ended: it counts against the job that it had."""


class TookTooLong(Crashed):
    """The computation did not end in its time."""


class NoCell(Later):
    """No cell can be started: a matter of this machine, not of a job."""


class Cell:
    """One process to compute in; it is started when it is needed, and again after each death.

    ``furniture`` is what applications read beside their cases; for ``plans``, (application, plan), they load what they
    need before the first case comes. ``share`` is that of memory and time which a case gets. A cell that is not
    ``is_kept`` has one case only.
    """

    def __init__(
        self,
        home: Path,
        settings: WorkSettings,
        furniture: Iterable[Path] = (),
        plans: Iterable[tuple[str, Mapping[str, Any]]] = (),
        *,
        share: float = 1.0,
        is_kept: bool = True,
    ) -> None:
        self.home = home
        self.settings = settings
        self.furniture = [str(path) for path in furniture]
        self.plans = list(plans)
        self.share = share
        self.is_kept = is_kept
        self.lacking: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._lock = -1
        self._heard = b""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def compute(self, application: str, case: Case, error: Unfit | None = None) -> Outcome:
        """Run an application over a case, or with an error let it refuse the case.

        Raises
        ------
        Crashed
            The computation died or took too long.
        NoCell
            It could not be started.
        """
        folder = self.start()
        try:
            handover.put_case(folder, application, case, error)
            self._await_answer(case)
            try:
                return handover.take_answer(folder)
            finally:
                handover.prepare(folder)  # nothing of a patient waits for the next case
        except Unfit:
            raise
        except BaseException:
            self.end()  # the next case begins afresh: with free memory, on the GPU too
            raise
        finally:
            if not self.is_kept:
                self.end()

    def start(self) -> Path:
        """Start the process if there is none, and give its folder."""
        if self._process is not None and self._folder is not None and self._process.poll() is None:
            return self._folder
        self.end()
        self._folder, self._lock = _folder_in(self.home)
        handover.prepare(self._folder)
        command = [sys.executable, "-P", "-m", "vb_node.runtime.inside", json.dumps(self._bounds(self._folder))]
        self._process = subprocess.Popen(  # noqa: S603  our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(self._folder / handover.SCRATCH),
            start_new_session=True,  # a Ctrl-C is for the worker
        )
        self._heard = b""
        self.lacking = self._await_start()
        return self._folder

    def _bounds(self, folder: Path) -> dict[str, Any]:
        return {
            "parent": os.getpid(),
            "folder": str(folder),
            "packages": sorted({point.module.partition(".")[0] for point in entry_points(group=GROUP)}),
            "furniture": self.furniture,
            "plans": self.plans,
            "device": self.settings.device,
            "memory_bytes": int(self.settings.memory_gb * self.share * 2**30),
            "has_network": self.settings.network,
        }

    def _await_start(self) -> list[str]:
        deadline = time.monotonic() + START_S
        try:
            while time.monotonic() < deadline:
                if message := self._hear():
                    return [str(name) for name in message["lacking"]]
        except (Crashed, KeyError, TypeError) as error:
            self.end()
            raise NoCell(f"the process for computations does not start ({error}): see the log of the worker") from error
        self.end()
        raise NoCell(f"the process for computations did not start within {START_S:g} s: see the log of the worker")

    def _await_answer(self, case: Case) -> None:
        """Hand the case in and pass its progress on; who hears it may raise to stop the run.

        Raises
        ------
        NodeError
            What the computation raised, told again.
        """
        longest_s = self.settings.max_runtime_s * self.share
        deadline = time.monotonic() + longest_s
        step, fraction = "starting", 0.0
        self._say()
        while not (message := self._hear()).get("done"):
            if message:
                step, fraction = str(message.get("step"))[:64], min(1.0, max(0.0, float(message.get("fraction", 0))))
            case.progress(step, fraction)
            if time.monotonic() > deadline:
                raise TookTooLong(f"the computation took more than {longest_s:g} s in step {step!r} and was ended")
        if "error" in message:
            raise handover.retell(message["error"])

    def _say(self) -> None:
        try:
            os.write(self._pipe("stdin"), b"\n")
        except BrokenPipeError as error:
            raise self._death() from error

    def _hear(self) -> dict[str, Any]:
        """Give the next message, or an empty one if none comes for a moment."""
        if b"\n" not in self._heard:
            pipe, ready = self._pipe("stdout"), select.poll()
            ready.register(pipe)
            if not ready.poll(1000 * TICK_S):
                return {}
            piece = os.read(pipe, LONGEST_LINE)
            self._heard += piece
            if not piece or len(self._heard) > 2 * LONGEST_LINE:
                raise self._death()
        line, is_whole, rest = self._heard.partition(b"\n")
        if not is_whole:
            return {}
        self._heard = rest
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise Crashed("the computation does not speak as expected any more and was ended") from error

    def _pipe(self, name: str) -> int:
        pipe = getattr(self._process, name)
        return int(pipe.fileno())

    def _death(self) -> Crashed:
        """Say how the process died."""
        process = self._process
        try:
            status = process.wait(END_S) if process else 0
        except subprocess.TimeoutExpired:
            return Crashed("the computation closed its pipe and was ended")
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return Crashed(f"the computation {how}")

    def end(self) -> None:
        """Kill the process and remove its folder."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


@dataclass(frozen=True)
class Celled:
    """An application that runs in a cell, as the worker sees it."""

    name: str
    cell: Cell

    def run(self, case: Case) -> Outcome:
        return self.cell.compute(self.name, case)

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        return self.cell.compute(self.name, case, error)


def in_cell(names: Iterable[str], cell: Cell) -> dict[str, Celled]:
    return {name: Celled(name, cell) for name in names}


def _environment(scratch: Path) -> Mapping[str, str]:
    """Give the cell what the worker has but its settings and secrets, and a home that it may write."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    code = str(Path(vb_node.__file__).parents[1])
    path = os.pathsep.join([code, *filter(None, [kept.get("PYTHONPATH")])])
    own = {"HOME": str(scratch), "TMPDIR": str(scratch), "LOGNAME": "vb-node", "PYTHONPATH": path}
    return kept | own


def _folder_in(home: Path) -> tuple[Path, int]:
    """Make a folder that is locked while its worker lives, and remove those whose worker died."""
    home.mkdir(parents=True, exist_ok=True)
    entrance = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(entrance, fcntl.LOCK_EX)
        for left in home.iterdir():
            _remove_unlocked(left)
        folder = Path(mkdtemp(dir=home))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(entrance)
    return folder, lock


def _remove_unlocked(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # another worker's, which has just ended
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(lock)
