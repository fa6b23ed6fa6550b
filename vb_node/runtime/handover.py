"""What goes into a cell and what comes out: one folder of plain data, JSON and DICOM files, never pickles.

``in`` holds the case and its inputs, ``out`` the answer and its objects, all by number. Nothing in ``out`` is trusted:
it is opened as a regular file of bounded size, parsed as data, and walked to its last byte before it is taken.
"""

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from errno import EDQUOT, EIO, ENOSPC
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.read import DAMAGE
from vb_node.dicom.structure import walk
from vb_node.errors import BadResult, Later, NodeError, Refused, Unfit
from vb_node.pipeline.application import Case, Outcome

IN, OUT, SCRATCH = "in", "out", "out/scratch"
CASE, ANSWER, BEFORE = "case.json", "answer.json", "predecessor.dcm"
MOST_OBJECTS, LONGEST_ANSWER, LONGEST_OBJECT = 64, 16 << 20, 2 << 30
MOST_ELEMENTS = 10_000_000  # a Segmentation of a thousand frames has more than what comes from outside may have
UNEXPECTED = "unexpected error, see the log of the worker"
_NATURES: dict[str, type[NodeError]] = {"Unfit": Unfit, "Later": Later, "NodeError": NodeError}
_META_START = 144  # preamble, prefix and the group length element (PS3.10 7.1)


def prepare(folder: Path) -> None:
    """Empty the folder for the next case; the two parts stay, for it is they that the cell may enter."""
    for part in (IN, OUT):
        (folder / part).mkdir(exist_ok=True)
        for left in (folder / part).iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
    (folder / SCRATCH).mkdir()


def put_case(folder: Path, application: str, case: Case, error: Unfit | None = None) -> None:
    """Lend a case to a cell: to run, or with an error to refuse."""
    prepare(folder)
    before = case.predecessor
    for number, path in enumerate(case.paths):
        _lend(path, folder / IN / f"{number}.dcm")
    if before is not None and before.segmentation is not None:
        _lend(before.segmentation, folder / IN / BEFORE)
    told = {
        "application": application,
        "error": error and tell(error),
        "inputs": len(case.paths),
        "plan": dict(case.plan),
        "job_key": case.job_key,
        "lineage_key": case.lineage_key,
        "created": case.created.isoformat(),
        "device": case.device,
        "device_serial_number": case.device_serial_number,
        "predecessor": before and asdict(before) | {"segmentation": before.segmentation is not None},
        "left_out": sorted(case.left_out),
    }
    (folder / IN / CASE).write_text(json.dumps(told), "utf-8")


def _lend(path: Path, to: Path) -> None:
    """Link a file where the cell may read it, or copy it where the disks differ; a missing one stays missing."""
    with suppress(FileNotFoundError):
        try:
            to.hardlink_to(path)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(path, to)


def take_case(folder: Path, progress: Callable[[str, float], None]) -> tuple[str, Case, Unfit | None]:
    """Read, inside the cell, which application is to do what."""
    told = json.loads((folder / IN / CASE).read_text("utf-8"))
    before = told["predecessor"]
    if before is not None:
        before = Predecessor(**before | {"segmentation": folder / IN / BEFORE if before["segmentation"] else None})
    case = Case(
        paths=tuple(folder / IN / f"{number}.dcm" for number in range(told["inputs"])),
        plan=told["plan"],
        job_key=told["job_key"],
        lineage_key=told["lineage_key"],
        created=datetime.fromisoformat(told["created"]),
        device=told["device"],
        progress=progress,
        device_serial_number=told["device_serial_number"],
        predecessor=before,
        left_out=frozenset(told["left_out"]),
    )
    error = told["error"] and retell(told["error"])
    return told["application"], case, error if isinstance(error, Unfit) else None


def put_answer(folder: Path, outcome: Outcome) -> None:
    """Write, inside the cell, what a run gave."""
    for number, (_, dataset) in enumerate(outcome.objects):
        dataset.save_as(folder / OUT / f"{number}.dcm", enforce_file_format=True)
    told = {"roles": [role for role, _ in outcome.objects], "summary": outcome.summary}
    (folder / OUT / ANSWER).write_text(json.dumps(told), "utf-8")


def take_answer(folder: Path) -> Outcome:
    """Read what a cell gave.

    Raises
    ------
    BadResult
        The answer is none, or an object is no whole DICOM file.
    """
    try:
        told = json.loads(_read(folder / OUT / ANSWER, LONGEST_ANSWER))
        roles, summary = told["roles"], dict(told["summary"])
        if len(roles) > MOST_OBJECTS or not all(isinstance(role, str) and len(role) <= 32 for role in roles):
            raise BadResult(f"at most {MOST_OBJECTS} objects with roles of at most 32 letters expected")
        return Outcome(tuple(zip(roles, _objects(folder, len(roles)), strict=True)), summary)
    except DAMAGE as wrong:
        raise BadResult(f"an answer of the computation expected, what came is none ({type(wrong).__name__})") from wrong


def _objects(folder: Path, count: int) -> Iterator[Dataset]:
    for number in range(count):
        content = _read(folder / OUT / f"{number}.dcm", LONGEST_OBJECT)
        dataset = dcmread(BytesIO(content))
        start = _META_START + int.from_bytes(content[_META_START - 4 : _META_START], "little")
        try:
            walk(content[start:], bool(dataset.file_meta.TransferSyntaxUID.is_implicit_VR), MOST_ELEMENTS)
        except Refused as error:
            raise BadResult(f"object {number} of the computation is no whole DICOM instance: {error}") from error
        if dataset.file_meta.MediaStorageSOPInstanceUID != dataset.SOPInstanceUID:
            raise BadResult(f"object {number} of the computation has two SOP Instance UIDs")
        yield dataset


def _read(path: Path, most: int) -> bytes:
    """Read a regular file of at most so many bytes: no link, no pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise ValueError(f"{path.name}: a file of at most {most} bytes expected")
        return file.read(most)


def tell(error: Exception) -> dict[str, str]:
    """Say what happened as data: by whom it matters to, name and text; a foreign text may quote the data set."""
    is_full = isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EIO)
    nature = "Unfit" if isinstance(error, Unfit) else "Later" if is_full or isinstance(error, Later) else "NodeError"
    text = str(error) if isinstance(error, NodeError) else UNEXPECTED
    return {"nature": nature, "name": type(error).__name__, "text": text[:1000]}


def retell(told: Any) -> NodeError:
    """Make the error again: of the class of that name, or of one made for it where nobody here knows it."""
    nature, name, text = (str(told[key]) for key in ("nature", "name", "text"))
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII):
        raise ValueError("the name of an error expected")
    kind = next((one for one in _family(_NATURES[nature]) if one.__name__ == name), None)
    error: NodeError = (kind or type(name, (_NATURES[nature],), {}))(text[:1000])
    return error


def _family(kind: type[NodeError]) -> Iterator[type[NodeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)
