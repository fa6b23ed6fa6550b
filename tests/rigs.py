"""The rigs of tests/chaos as processes of their own; one that does not end is made to say where it stands."""

import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
from places import ROOT

LONGEST_S, AFTERWARDS_S = 540.0, 30.0  # together less than pytest gives a test, so that what a rig has said is told


class Rig:
    """A rig that runs from now on."""

    def __init__(self, file: str, *words: str) -> None:
        command = [sys.executable, "-X", "faulthandler", str(ROOT / "tests" / "chaos" / file), *words]
        self._until = time.monotonic() + LONGEST_S
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self) -> tuple[int, str]:
        """Wait for its end: give exit status and words, and the stack of each thread where it had to be ended."""
        try:
            told, _ = self._process.communicate(timeout=max(1.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            started = psutil.Process(self._process.pid).children(recursive=True)
            self._process.send_signal(signal.SIGABRT)
            for process in started:
                with suppress(psutil.NoSuchProcess):  # a station dies with its supervisor
                    process.kill()
            told, _ = self._process.communicate(timeout=AFTERWARDS_S)
        return self._process.returncode, told
