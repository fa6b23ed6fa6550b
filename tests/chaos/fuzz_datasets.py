"""Data sets by the ten thousand through the admission of the node, in a process with a limit of memory and of time."""

import multiprocessing
import random
import resource
import subprocess
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import by_pydicom
from factories import enhanced_mr, head, mr_series, write
from invariants import META_LENGTH_AT, META_START
from mutate import DataSet, data_set, mutated
from places import REAL_DATA
from processes import tool
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from vb_node.dicom.admission import Header, admit
from vb_node.errors import Refused

MEMORY, PATIENCE_S, BATCH, LARGEST = 2 << 30, 10.0, 200, 400_000
KEYS = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "series_instance_uid")
Admit = Callable[[bytes, str, str, str], Header]
TAGS = ("0008,0016", "0008,0018", "0020,000d", "0020,000e")


@dataclass(frozen=True)
class Seed:
    """One data set with the C-STORE request that announces it; ``meta`` goes before it to make a file."""

    content: DataSet
    syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    meta: bytes


@dataclass
class Tally:
    """What became of the cases; ``wrong`` breaks the oracle."""

    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def seeds(folder: Path) -> list[Seed]:
    """Make seed files by the factories, and take real ones where a clone has them."""
    uids = {f"{level}InstanceUID": generate_uid(entropy_srcs=["fuzz", level]) for level in ("Study", "Series")}
    uids |= {"FrameOfReferenceUID": generate_uid(entropy_srcs=["fuzz", "frame"])}
    made = [*mr_series(head((3, 16, 16)), **uids), enhanced_mr(head((4, 12, 12)), **uids)]
    for rank, one in enumerate(made):
        one.SOPInstanceUID = generate_uid(entropy_srcs=["fuzz", str(rank)])
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    syntaxes = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless)
    paths = [path for syntax in syntaxes for path in write(made, folder / syntax, syntax)]
    real = sorted(path for path in REAL_DATA.rglob("*") if path.is_file() and path.stat().st_size < LARGEST)
    return [
        *(_seed(path) for path in paths),
        *(_seed(path) for path in real[:: max(1, len(real) // 60)] if _is_ours(path)),
    ]


def _is_ours(path: Path) -> bool:
    """Say whether a real file is DICOM in a transfer syntax that the node takes."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return False
    return str(read_file_meta_info(path).TransferSyntaxUID) in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def _seed(path: Path) -> Seed:
    meta, content = read_file_meta_info(path), path.read_bytes()
    start = META_START + int.from_bytes(content[META_LENGTH_AT], "little")
    is_implicit = meta.TransferSyntaxUID == ImplicitVRLittleEndian
    uids = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
    return Seed(data_set(content[start:], is_implicit=is_implicit), str(meta.TransferSyntaxUID), *uids, content[:start])


def case(seeds: list[Seed], seed: int, number: int) -> tuple[Seed, bytes]:
    """Make case ``number``; the same numbers over the same seed files give the same bytes."""
    chance = random.Random(f"{seed}/{number}")
    one, other = chance.choice(seeds), chance.choice(seeds)
    return one, mutated(chance, one.content, other.content)


def _admit_all(link: Connection, seeds: list[Seed], seed: int, first: int, last: int, act: Admit) -> None:
    """Admit case after case, and tell of each: the body of the child."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, last):
        one, data = case(seeds, seed, number)
        try:
            header = act(data, one.syntax, one.sop_class_uid, one.sop_instance_uid)
        except Refused as refused:
            link.send((number, f"{refused.status:04X}", None))
        except Exception as error:
            link.send((number, f"escaped {type(error).__name__}", None))
        else:
            link.send((number, "admitted", [getattr(header, key) for key in KEYS]))
    link.close()


def _verdicts(seeds: list[Seed], seed: int, cases: int, act: Admit) -> Iterator[tuple[int, str, Any]]:
    """Yield (case, verdict, keys) from a child that is replaced when it dies or hangs."""
    context, next_case = multiprocessing.get_context("fork"), 0
    while next_case < cases:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_admit_all, args=(theirs, seeds, seed, next_case, cases, act))
        child.start()
        theirs.close()
        try:
            while next_case < cases:
                if not ours.poll(PATIENCE_S):
                    yield next_case, "hung", None
                    break
                yield ours.recv()
                next_case += 1
        except EOFError:
            yield next_case, "died", None
        if next_case < cases:
            next_case += 1
        child.kill()
        child.join()


def fuzz(cases: int, seed: int, folder: Path, control: str | None) -> Tally:
    """Run the cases; what is admitted must be read by DCMTK to the end, with the same four UIDs."""
    known, tally, waiting = seeds(folder / "seeds"), Tally(), dict[Path, tuple[int, list[str]]]()
    for number, verdict, keys in _verdicts(known, seed, cases, by_pydicom.admit if control else admit):
        tally.verdicts[verdict] += 1
        if verdict in ("hung", "died") or verdict.startswith("escaped"):
            tally.wrong.append(f"case {number}: {verdict}")
        if verdict == "admitted":
            one, data = case(known, seed, number)
            path = folder / f"{number}.dcm"
            path.write_bytes(one.meta + data)
            waiting[path] = (number, keys)
        if len(waiting) == BATCH:
            tally.wrong += _disagreements(waiting)
            waiting.clear()
    tally.wrong += _disagreements(waiting) if waiting else []
    return tally


def _disagreements(waiting: dict[Path, tuple[int, list[str]]]) -> list[str]:
    """Read admitted files by DCMTK, all at once; give those that it cannot read or reads with other UIDs."""
    picked = [word for tag in TAGS for word in ("+P", tag)]
    command = [tool("dcmdump"), "-q", "+F", "+p", "+L", "-Un", *picked, *map(str, waiting)]
    told = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    read: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():
        if line.startswith("# dcmdump"):
            read[line.split(": ", 1)[1]] = values = []
        elif line[1:10] in TAGS and line[10:12] == ") ":  # of the data set itself, not of a sequence in it
            values.append(line.partition("[")[2].partition("]")[0].rstrip("\0 "))
    wrong = [
        f"case {number}: admitted, DCMTK reads {read.get(str(path))} instead of {keys}"
        for path, (number, keys) in waiting.items()
        if read.get(str(path)) != keys
    ]
    for path in waiting:
        path.unlink()
    return wrong
