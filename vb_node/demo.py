"""``vb-node demo``: an archive, the node and a study on this machine, from the first image to the results.

The node is the real one, started as ``vb-node serve`` with a configuration that is left beside the results.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from rich.text import Text

from storage import jobs
from storage.database import Database
from storage.schema import Job
from vb_node import config as configuration
from vb_node import show
from vb_node.dicom.read import read_folder
from vb_node.dimse import scu
from vb_node.errors import ConfigError, Later, NodeError
from vb_node.exit_status import DONE, FAILED, NOT_ANALYSED
from vb_node.runtime.archive import Archive
from vb_node.runtime.node import open_ledger

HOST, NODE, ARCHIVE = "127.0.0.1", "VBNODE", "DEMOPACS"
PHANTOM_SEED = 1
START_S, FINISH_S = 60.0, 900.0
PICTURE_COLUMNS = 96

NODE_TOML = """\
[node]
ae_title = "{node}"
data = "data"

[receive]
host = "{host}"
port = {port}

[[receive.peers]]
ae_title = "{archive}"
hosts = ["{host}"]

[assemble]
quiet_s = 2

[[routes]]
name = "virtual-biopsy"
destinations = ["archive"]

[[destinations]]
name = "archive"
ae_title = "{archive}"
host = "{host}"
port = {archive_port}

[retention]
stop_at = 1
stop_free_gb = 0
"""


def run(study: Path | None, out: Path) -> int:
    """Run the demonstration and print what came of it; return the exit status."""
    home = _fresh(out)
    study = study or _phantom(home / "study")
    paths = [instance.path for series in read_folder(study).values() for instance in series]
    if not paths:
        raise ConfigError(f"a folder with DICOM files expected, {study} holds none")
    port, archive_port = _free_port(), _free_port()
    config = home / "node.toml"
    config.write_text(
        NODE_TOML.format(node=NODE, host=HOST, port=port, archive=ARCHIVE, archive_port=archive_port), "utf-8"
    )
    archive = Archive(ARCHIVE, HOST, archive_port, home / "archive")
    try:
        with _node(config, home / "node.log", port):
            _send(paths, scu.Address(NODE, HOST, port))
            job = _wait(config)
    finally:
        archive.close()
    return _tell(home, config, archive, job)


def _fresh(out: Path) -> Path:
    """Make a new folder: a demonstration never writes over the one before."""
    home = out / time.strftime("%Y-%m-%d-%H%M%S")
    try:
        home.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{home} cannot be made ({error.strerror}): name another folder with --out") from error
    return home.resolve()


def _phantom(folder: Path) -> Path:
    from vb_node.training.phantom import generate  # late: a study of one's own needs no phantom

    with show.progress() as bar:
        task = bar.add_task("making a phantom", total=1)
        generate(folder, 1, PHANTOM_SEED, "dicom", lambda done, total: bar.update(task, completed=done, total=total))
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _node(config: Path, log: Path, port: int) -> Iterator[None]:
    """Run the node until the block ends."""
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(config)]
    with log.open("wb") as stream:
        node = subprocess.Popen(command, stderr=stream)  # noqa: S603  our own program
        try:
            _wait_for_echo(node, scu.Address(NODE, HOST, port), log)
            yield
        finally:
            node.terminate()
            node.wait()


def _wait_for_echo(node: "subprocess.Popen[bytes]", address: scu.Address, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and node.poll() is None:
        try:
            return scu.echo(address, ARCHIVE)
        except Later:
            time.sleep(0.2)
    raise NodeError(f"the node did not start; its log is {log}")


def _send(paths: list[Path], node: scu.Address) -> None:
    with show.progress() as bar:
        task = bar.add_task("sending", total=len(paths))
        for sent in scu.store_many(paths, node, ARCHIVE):
            if not scu.is_stored(sent.status):
                raise NodeError(f"the node did not take {sent.path.name}: {scu.words_of(sent.status)} {sent.why}")
            bar.advance(task)


def _wait(config: Path) -> Job | None:
    """Wait until the newest job has ended and its results are delivered, and give it; None when there is none."""
    database = open_ledger(configuration.load(config))
    deadline = time.monotonic() + FINISH_S
    with show.progress() as bar:
        task = bar.add_task("waiting for the study to be whole", total=100)
        while time.monotonic() < deadline:
            job, is_over = _look(database)
            if is_over:
                break
            if job is not None:
                bar.update(task, description=job.step or job.state.lower(), completed=int(100 * job.progress))
            time.sleep(0.3)
        else:
            raise NodeError(f"no result within {FINISH_S:g} s; see node.log beside {config}")
    database.close()
    return job


def _look(database: Database) -> tuple[Job | None, bool]:
    from storage import arrivals, deliveries

    with database.read() as session:
        found = jobs.listing(session, limit=1)
        if not found:
            is_closed = not arrivals.open_series(session)
            return None, is_closed
        job = jobs.get(session, found[0].id)
        sent = jobs.deliveries_of(session, job.id)
    is_ended = job.state in ("COMPLETED", "FAILED", "CANCELED")
    return job, is_ended and all(delivery.state not in deliveries.UNDER_WAY for delivery in sent)


def _tell(home: Path, config: Path, archive: Archive, job: Job | None) -> int:
    if job is None:
        show.console.print(
            f"No series of the study was taken; the reasons: vb-node audit search --config {config}", soft_wrap=True
        )
        return FAILED
    results = [dcmread(path) for path in archive.files()]
    columns = ["modality", "description", "size", "file in the archive"]
    lines = [
        [
            str(result.Modality),
            str(result.SeriesDescription),
            f"{path.stat().st_size / 1024:.0f} kB",
            str(path.relative_to(home)),
        ]
        for path, result in zip(archive.files(), results, strict=True)
    ]
    show.table("What came back", columns, lines)
    show.table("What it says", ["", ""], (job.outcome or {}).items())
    for picture in [result for result in results if result.get("Modality") == "OT"][:1]:
        _show_picture(picture, home / "prior.png")
    show.console.print(
        f"everything: {home}\njob log:    vb-node jobs show {job.id} --config {config}", soft_wrap=True, highlight=False
    )
    show.console.print("Investigational software: nothing here is a diagnosis.")
    if job.state == "COMPLETED":
        return DONE
    show.console.print(f"Job {job.state}: {job.reason}: {job.detail}", markup=False)
    return NOT_ANALYSED if results else FAILED


def _show_picture(capture: Dataset, path: Path) -> None:
    """Keep the key image as PNG, and draw it in the terminal, two pixels a character."""
    image = Image.fromarray(capture.pixel_array)
    image.save(path)
    show.console.print(f"The prior over the slice: {path}", soft_wrap=True, highlight=False)
    if not show.console.is_terminal:
        return
    columns = min(PICTURE_COLUMNS, show.console.width)
    small = np.asarray(image.resize((columns, 2 * (columns * image.height // image.width // 2))))
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        row = [Text("▀", f"{_colour(above)} on {_colour(below)}") for above, below in zip(upper, lower, strict=True)]
        show.console.print(Text.assemble(*row))


def _colour(pixel: Any) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in pixel))
