"""A real node to be killed, frozen and cut off: ``vb-node serve`` with the light application of ``plugin``."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil
from invariants import Ledger
from processes import HOST, free_port, wait_until, words_of

from storage import arrivals, jobs, stations
from storage.database import Database
from storage.schema import Job
from vb_node.runtime import receive

PLUGIN, ROOT = Path(__file__).parent / "plugin", Path(__file__).parents[2]
QUIET_S, LEASE_S = 1.5, 3.0
PATIENCE_S, STEP_S, MIDDLE = 7.0, 0.1, (0.1, 0.7)
SUPERVISOR_SHARE, START_S = 0.06, 60.0
DONE = {f"delivery {state}" for state in ("sent", "committed", "parked")} | {
    f"job {state}" for state in ("COMPLETED", "FAILED", "CANCELED")
}
TOML = """\
[receive]
port = {port}
[[receive.peers]]
ae_title = "SENDER"
[assemble]
quiet_s = {quiet_s}
{gate}
[[routes]]
name = "chaos"
application = "chaos_copier"
destinations = ["pacs"]
[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {pacs_port}
timeout_s = 5
[work]
warm = false
workers = 2
lease_s = {lease_s}
[retention]
stop_at = 1
stop_free_gb = 0
reserve_mb = 1
"""


class Victim:
    """A node whose supervisor is started again whenever it is killed, as systemd would; a rig that fails closes it."""

    def __init__(
        self,
        home: Path,
        pacs_port: int,
        control: str | None,
        only: str | None = None,
        points: Collection[str] = (),
        url: str = "",
        lease_s: float = LEASE_S,
        quiet_s: float = QUIET_S,
        notes: Path | None = None,
    ) -> None:
        self._station = ["--only", only] if only else []
        self._url = url
        self.home, self.port = home, free_port()
        gate = "gate_s = 0" if control == "no-gate" else ""
        words = {"port": self.port, "pacs_port": pacs_port, "quiet_s": quiet_s, "lease_s": lease_s, "gate": gate}
        ledger = f'[node]\ndatabase = "{url}"\n' if url else ""
        (home / "node.toml").write_text(ledger + TOML.format(**words))
        path = os.pathsep.join([str(ROOT), str(PLUGIN)])
        (home / "killed").mkdir(exist_ok=True)
        self._environment = os.environ | {
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "VB_CHAOS_CONTROL": control or "",
            "VB_CHAOS_POINTS": ",".join(points),
            "VB_CHAOS_KILLED": str(home / "killed"),
            "VB_CHAOS_SYNCED": str(notes or ""),
        }
        self._log = (home / "node.log").open("ab")
        self.database = Database(url or f"sqlite:///{home / 'data' / 'ledger.db'}")
        self.database.upgrade()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        command = [sys.executable, "-m", "vb_node", "serve", "--config", str(self.home / "node.toml"), *self._station]
        self.supervisor = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=self._environment)

    def stop(self) -> None:
        self.supervisor.terminate()
        self.supervisor.wait(60)

    def close(self) -> None:
        """Kill whatever runs, and let go of every file."""
        stations = self.stations()
        self.supervisor.kill()
        self.supervisor.wait()
        psutil.wait_procs(stations, timeout=20)
        self.database.close()
        self._log.close()

    def killed_at(self) -> set[str]:
        """Name the fail-points at which a process has died."""
        return {mark.name for mark in (self.home / "killed").iterdir()}

    def ledger(self) -> Ledger:
        """Read all rows."""
        return Ledger(self.home / "data", self._url)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the node does not listen after {START_S:g} s: see {self._log.name}")
            time.sleep(0.1)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the node while the block runs."""
        everyone = [psutil.Process(self.supervisor.pid), *self.stations()]
        for process in everyone:
            process.send_signal(signal.SIGSTOP)
        yield
        for process in everyone:
            _go_on(process)

    def without_listener(self, for_s: float) -> None:
        """Kill the listener, and have it back after a while."""
        supervisor = psutil.Process(self.supervisor.pid)
        supervisor.send_signal(signal.SIGSTOP)
        for station in self.stations():
            if _name(station) == receive.STATION:
                station.kill()
        time.sleep(for_s)
        since = time.time()
        _go_on(supervisor)
        self.wait_for_listener(since)

    def wait_for_listener(self, since: float) -> None:
        """Wait until a listener is there that has started since."""

        def is_there() -> bool:
            with self.database.read() as session:
                listener = stations.get(session, receive.STATION)
            return listener is not None and listener.started_at > since

        wait_until(is_there, START_S, f"a listener is there (see {self._log.name})")

    def stations(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.supervisor.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill_one(self, chance: random.Random) -> str | None:
        """Kill the supervisor or a station; give its name, or None where none runs."""
        stations = self.stations()
        if stations and chance.random() < SUPERVISOR_SHARE:
            self.supervisor.kill()
            self.supervisor.wait()
            self.start()
            return "supervisor"
        return _kill(chance.choice(stations)) if stations else None

    def make_a_zombie(self) -> bool:
        """Freeze a worker in mid-job until another one has taken the job over, then let both go on.

        Give False if no job was in the middle, or nobody took it over, within some seconds.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if (found := self.in_the_middle()) is not None:
                return self._freeze_until_taken_over(*found)
            time.sleep(STEP_S)
        return False

    def in_the_middle(self, least: float = MIDDLE[0]) -> tuple[psutil.Process, Job] | None:
        """Find a worker in mid-job, as far as the ledger knows: it hears of progress six times in a lease."""
        for job in self._running():
            worker = next((one for one in self.stations() if str(one.pid) == str(job.owner).split()[-1]), None)
            if worker is not None and least <= job.progress <= MIDDLE[1]:
                return worker, job
        return None

    def job(self, job_id: int) -> Job:
        with self.database.read() as session:
            return jobs.get(session, job_id)

    def _running(self) -> Sequence[Job]:
        with self.database.read() as session:
            return jobs.listing(session, state="IN PROGRESS")

    def _freeze_until_taken_over(self, worker: psutil.Process, job: Job) -> bool:
        worker.send_signal(signal.SIGSTOP)
        deadline, is_taken_over = time.monotonic() + PATIENCE_S, False
        while time.monotonic() < deadline and not is_taken_over:
            time.sleep(STEP_S)
            is_taken_over = any(one.id == job.id and one.owner != job.owner for one in self._running())
        _go_on(worker)
        return is_taken_over

    def retry_refused(self, retried: set[int]) -> None:
        """Do what an operator does: retry each refused job once."""
        with self.database.read() as session:
            refused = [job.id for job in jobs.listing(session, state="FAILED", limit=10_000) if job.id not in retried]
        for number in refused:
            with self.database.write() as session:
                jobs.retry(session, number, now=time.time(), user="chaos")
            retried.add(number)

    def left(self) -> Counter[str]:
        """Count what is left to do: series that are open, jobs and deliveries by state."""
        with self.database.read() as session:  # down the line: what moves on in PostgreSQL meanwhile is seen twice
            arriving = ["series open" for _ in arrivals.open_series(session)]
            listed = jobs.listing(session, limit=100_000)
            sent = [f"delivery {one.state}" for job in listed for one in jobs.deliveries_of(session, job.id)]
        states = [*sent, *(f"job {job.state}" for job in listed), *arriving]
        return Counter(state for state in states if state not in DONE)

    def is_at_rest(self) -> bool:
        """Say whether every series is closed, every job ended and every delivery made."""
        return not self.left()


def _name(station: psutil.Process) -> str:
    try:
        return words_of(station)[-1]
    except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
        return "gone"


def _kill(station: psutil.Process) -> str | None:
    name = _name(station)
    if name == "gone":
        return None
    station.kill()
    return name


def _go_on(frozen: psutil.Process) -> None:
    if frozen.is_running():
        frozen.send_signal(signal.SIGCONT)
