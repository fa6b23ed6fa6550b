"""An application that misbehaves as the plan of its job tells it to: what a broken decoder or a hostile model does."""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from vb_node.config import Settings
from vb_node.errors import Unfit
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.select import Choice

PTRACE_ATTACH = 16
WEIGHTS = {"hammer": "5a" * 32}
WARMED: list[Any] = []


class Saboteur:
    """Does what ``plan["act"]`` names with ``plan["at"]``, and gives the first instance back if it still can."""

    name, version = "saboteur", "1"

    def warm(self, plan: Mapping[str, Any], device: str) -> None:
        if plan["act"] == "fail to warm":
            raise MemoryError
        WARMED.append([plan, device])

    def plan(self, _settings: Settings) -> dict[str, Any]:
        return {"act": "nothing", "at": None, "weights": WEIGHTS}

    def select(self, study: Sequence[Candidate], _plan: Mapping[str, Any]) -> list[Choice]:
        return [Choice(str(candidate.header.SeriesInstanceUID), True, 1.0, "all") for candidate in study]

    def run(self, case: Case) -> Outcome:
        answer = ACTS[case.plan["act"]](case.plan["at"])
        return Outcome((("COPY", _copy(case)),), {"answer": answer, "pid": os.getpid()})

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        return Outcome((("SR", _copy(case)),), {"reason": error.reason})


def _copy(case: Case) -> Dataset:
    copy = dcmread(case.paths[0])
    copy.SeriesInstanceUID = generate_uid(entropy_srcs=[case.lineage_key])
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[case.job_key])
    return copy


def _tell(act: Callable[[], Any]) -> str:
    """Say what came of an attempt: "done", or the name of the error."""
    try:
        act()
    except (OSError, MemoryError, RuntimeError) as error:
        return type(error).__name__
    return "done"


def _connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as one:
        one.settimeout(5)
        one.connect(tuple(address) if isinstance(address, list) else address)
        one.send(b"patient")


def _trace(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _loop(_: Any) -> None:
    while True:
        time.sleep(0.01)


def _ask_a_model(folder: str) -> str:
    """Do no harm for once: load a vision-language model and ask it something."""
    import numpy as np

    from vb_node.models.model_folder import examine
    from vb_node.models.qwen_vl import QwenVL, Running
    from vb_node.models.vision_language import Question

    model = QwenVL.load(examine(Path(folder)), Running("cpu", picture_px=64, max_new_tokens=8))
    return model.ask([Question(np.zeros((64, 64, 3), np.uint8), "Answer.", "Where?")])[0]


def _open_weights(folder: str) -> str:
    """Do no harm either: open weights of the site's."""
    from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
    from vb_node.models.pins import read_site_pin

    pin = read_site_pin(Path(folder))  # as a plan does before every case
    return f"{Diagnoser.load('cpu', Path(folder)).sha256} {pin.seed}"


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda _: None,
    "connect by TCP": lambda address: _tell(lambda: _connect(socket.AF_INET, socket.SOCK_STREAM, address)),
    "send by UDP": lambda address: _tell(lambda: _connect(socket.AF_INET, socket.SOCK_DGRAM, address)),
    "connect to a socket file": lambda path: _tell(lambda: _connect(socket.AF_UNIX, socket.SOCK_STREAM, path)),
    "read": lambda path: _tell(Path(path).read_bytes),
    "write": lambda path: _tell(lambda: Path(path).write_text("x")),
    "look at the files of a process": lambda pid: _tell(lambda: Path(f"/proc/{pid}/fd/0").readlink()),
    "start a process": lambda _: _tell(lambda: os.fork() or os._exit(0)),
    "start a program": lambda _: _tell(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "kill": lambda pid: _tell(lambda: os.kill(pid, signal.SIGCONT)),
    "trace": lambda pid: _tell(lambda: _trace(pid)),
    "take memory": lambda size: _tell(lambda: bytearray(size)),
    "show what was warmed": lambda _: WARMED,
    "show the environment": lambda _: sorted(os.environ),
    "exit": os._exit,
    "segmentation fault": lambda _: ctypes.string_at(0),
    "never return": _loop,
    "take memory and fail": bytearray,
    "ask a model": _ask_a_model,
    "open weights": _open_weights,
    "close the pipe": lambda _: (os.closerange(3, 100), _loop(None)),
}

application = Saboteur()
