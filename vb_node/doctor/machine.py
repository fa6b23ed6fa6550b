"""This machine: its disk, its ledger, its clock, its GPU, its packages."""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryFile

from packaging.version import Version

from storage import stations as shelf
from storage.database import DURABLE, Database, has_wal_reset_fault
from vb_node.config import Settings
from vb_node.doctor.finding import DOUBTFUL, GOOD, WRONG, Finding
from vb_node.runtime import retain
from vb_node.runtime.node import LAX, open_ledger

SLOW_SYNC_S, SILENT_S = 0.1, 10.0
TIMEX_BYTES, CLOCK_UNSYNCHRONISED = 256, 5  # adjtimex(2): TIME_ERROR
# Below these versions a package has a known fault that reaches this node (SECURITY 1.1 and 1.2).
FLOORS = {
    "pydicom": ("3.0.2", "CVE-2026-32711, path traversal by DICOMDIR"),
    "pynetdicom": ("3.0.4", "CVE-2026-56445, path traversal by SOP Instance UID"),
    "torch": ("2.10", "CVE-2026-24747, memory corruption by a weights file"),
    "transformers": ("5.3", "CVE-2026-4372, code run from a model's config.json"),
    "monai": ("1.5.2", "CVE-2026-21851 and GHSA-89gg-p5r5-q6r4"),
}


def disk(settings: Settings) -> Iterator[Finding]:
    disk = retain.disk_of(settings)
    state = WRONG if disk.used >= disk.stop_at or disk.free_bytes < disk.stop_free_bytes else GOOD
    state = DOUBTFUL if state == GOOD and disk.is_high() else state
    found = f"{disk.used:.0%} used, {disk.free_bytes / 2**30:.1f} GiB free under {settings.data}"
    yield Finding("disk", state, found, "" if state == GOOD else "free some space, or set [retention] days")
    began = time.monotonic()
    with TemporaryFile(dir=settings.data) as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    took_s = time.monotonic() - began
    remedy = "" if took_s < SLOW_SYNC_S else "every instance waits for one: use a faster or less busy disk"
    yield Finding("write and fsync", GOOD if not remedy else DOUBTFUL, f"{1000 * took_s:.1f} ms", remedy)


def ledger(settings: Settings) -> Iterator[Finding]:
    with closing(open_ledger(settings)) as database:
        database.check()
        kind = database.url.get_backend_name()
        yield Finding("ledger", GOOD, f"{kind}, its schema is this version's")
        if kind == "postgresql":
            yield from _postgresql(database)
        elif has_wal_reset_fault():
            yield Finding("SQLite", GOOD, "older than 3.51.3: writers and checkpoints are kept apart by a lock")


def _postgresql(database: Database) -> Iterator[Finding]:
    lax = database.lax_settings()
    for name in DURABLE:
        is_lax = name in lax
        found, remedy = ("off", f"set it on: {LAX}") if is_lax else ("not off", "")
        yield Finding(f"PostgreSQL {name}", WRONG if is_lax else GOOD, found, remedy)


def stations(settings: Settings) -> Iterator[Finding]:
    with closing(open_ledger(settings)) as database, database.read() as session:
        station = shelf.get(session, "receive")
    if station is None or time.time() - station.beat_at > SILENT_S:
        yield Finding("node", DOUBTFUL, "the listener does not run", "start it: vb-node serve")
    else:
        yield Finding("node", GOOD, f"the listener has run for {(time.time() - station.started_at) / 3600:.1f} h")


def clock(_settings: Settings) -> Iterator[Finding]:
    timex = ctypes.create_string_buffer(TIMEX_BYTES)  # all zero: only asks
    is_kept = ctypes.CDLL(None).adjtimex(timex) != CLOCK_UNSYNCHRONISED
    remedy = "" if is_kept else "run chrony or systemd-timesyncd: results and the audit trail are dated by this clock"
    found = "kept by a time service" if is_kept else "no time service keeps it"
    yield Finding("clock", GOOD if is_kept else DOUBTFUL, found, remedy)


def device(settings: Settings) -> Iterator[Finding]:
    from vb_node.models import device  # late: torch takes seconds

    gpu = device.describe()
    if gpu is None and settings.work.device == "cuda":
        yield Finding("GPU", WRONG, "none that torch can use", 'set [work] device = "auto", or mend the driver')
    else:
        yield Finding("GPU", GOOD, gpu or f"none; the pipeline runs on {os.cpu_count()} cores")


def packages() -> Iterator[Finding]:
    for name, (least, fault) in FLOORS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, WRONG, "not installed", f"pip install '{name}>={least}'")
            continue
        is_safe = Version(found) >= Version(least)
        yield Finding(name, GOOD if is_safe else WRONG, found, "" if is_safe else f"{fault}: install {least} or later")
