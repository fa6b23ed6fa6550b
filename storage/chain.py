"""The chain of the audit trail: what the digest of a line covers, and the walk over all of them.

Nothing but the standard library is imported: a process that walks a part of the chain (``walk_by_several``) starts at
once. A digest covers the digest of the line before, time and words as a JSON array, and the details as they are stored,
one after the other: SQLite itself can put all of it together, and a walk need not make Python objects of each column.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

ORIGIN = "0" * 64
KEYS = (
    "peer",
    "patient_id",
    "accession_number",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "job_id",
    "user",
)
WORDS = ("event", "outcome", "actor", *KEYS)
BLOCK = 1000
WORTH_A_PROCESS = 25_000  # lines, which are walked in less time than a process takes to start

_COLUMNS = ", ".join(f'"{word}"' for word in WORDS)
_FROM = "FROM events WHERE seq > ? AND seq <= ? ORDER BY seq"
_ARRAY = f"json_array(CAST(at * 1000000.0 + 0.5 AS INTEGER), {_COLUMNS})"
_AT_ONCE = f"SELECT digest, previous || {_ARRAY} || details {_FROM}"  # noqa: S608
_LAST = "SELECT max(seq) FROM events WHERE seq > ? AND seq <= ?"
_EACH = f"SELECT seq, previous, digest, at, {_COLUMNS}, details {_FROM}"  # noqa: S608
_array = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=repr).encode  # as SQLite's json_array

Row = Sequence[Any]  # seq, previous, digest, at, each of WORDS, details


class Broken(Exception):
    """The trail was changed after it was written."""


@dataclass(frozen=True)
class Part:
    """Lines that follow each other: how many, what the first one follows, number and digest of the last one."""

    lines: int
    previous: str
    last: int
    digest: str


def digest_of(previous: str, at: float, words: Sequence[str | int | None], details: Mapping[str, Any]) -> str:
    """Digest a line: ``words`` in the order of ``WORDS``; SHA-256 in hexadecimal digits."""
    stored = json.dumps(details)  # as SQLAlchemy stores it
    array = _array([int(at * 1000000.0 + 0.5), *words])  # microseconds since 1970: whole numbers are written one way
    return sha256(f"{previous}{array}{stored}".encode()).hexdigest()


def check(row: Row, last: int, end: str) -> None:
    """Raise ``Broken`` if a line does not follow the line ``last``, whose digest is ``end``, or was changed."""
    seq, previous, digest, at, *words, details = row
    if previous != end:
        raise Broken(f"line {seq} of the audit trail does not follow line {last}: some were taken out or put in")
    is_time = isinstance(at, float) and isfinite(at)
    if not is_time or digest_of(previous, at, words, details) != digest:
        raise Broken(f"line {seq} of the audit trail was changed after it was written")


def follow(rows: Iterable[Row], part: Part) -> Part:
    """Check lines that follow a part, and give it with them."""
    lines, last, end = part.lines, part.last, part.digest
    for row in rows:
        check(row, last, end)
        lines, last, end = lines + 1, row[0], row[2]
    return Part(lines, part.previous, last, end)


def walk(connection: sqlite3.Connection, first: int, last: int) -> Part | None:
    """Walk the lines from ``first`` to ``last`` in an SQLite ledger; give None where there is none.

    Raises
    ------
    Broken
        One was changed, put in, taken out or moved.
    """
    part = None
    for low in range(first - 1, last, BLOCK):
        bounds = low, min(low + BLOCK, last)
        if part is None:
            found = connection.execute(f"SELECT previous {_FROM} LIMIT 1", bounds).fetchone()  # noqa: S608
            part = Part(0, found[0], low, found[0]) if found else None
        if part is not None:
            part = _follow_at_once(connection, bounds, part) or _follow_each(connection, bounds, part)
    return part


def _follow_at_once(connection: sqlite3.Connection, bounds: tuple[int, int], part: Part) -> Part | None:
    """Follow a part over a block as SQLite puts its lines together; None where one is not as it should be."""
    end = part.digest
    try:
        rows = connection.execute(_AT_ONCE, bounds).fetchall()  # all of a block: quicker than line by line
    except sqlite3.OperationalError:  # bytes where a text should be
        return None
    for digest, said in rows:
        if not said.startswith(end) or sha256(said.encode()).hexdigest() != digest:
            return None
        end = digest
    last = connection.execute(_LAST, bounds).fetchone()[0] or part.last
    return Part(part.lines + len(rows), part.previous, last, end)


def _follow_each(connection: sqlite3.Connection, bounds: tuple[int, int], part: Part) -> Part:
    try:
        rows = [(*row, json.loads(stored)) for *row, stored in connection.execute(_EACH, bounds)]
    except (sqlite3.OperationalError, ValueError) as error:
        lines = f"one of the lines {bounds[0] + 1} to {bounds[1]} of the audit trail"
        raise Broken(f"{lines} was changed after it was written: it cannot be read: {error}") from error
    return follow(rows, part)


def walk_by_several(file: Path, last: int, processes: int) -> Part | None:
    """Walk the whole chain of an SQLite ledger, what is committed of it, by so many processes at the same time."""
    ends = [last * number // processes for number in range(processes + 1)]
    asked = [{"file": str(file), "first": low + 1, "last": high} for low, high in pairwise(ends)]
    commands = [[sys.executable, "-P", "-m", "storage.chain", json.dumps(words)] for words in asked]
    started = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True) for one in commands]  # noqa: S603
    said = [process.communicate()[0] for process in started]  # of all, before one of them ends the walk
    told = [_told(process.returncode, text) for process, text in zip(started, said, strict=True)]
    return _joined(part for part in told if part is not None)


def _told(status: int, text: str) -> Part | None:
    if status:
        raise OSError(f"a process that walks the audit trail ended with {status}: see what it said")
    answer = json.loads(text)
    if answer and "broken" in answer:
        raise Broken(answer["broken"])
    return Part(**answer) if answer else None


def _joined(parts: Iterator[Part]) -> Part | None:
    whole = None
    for part in parts:
        if whole is None:
            whole = part
        elif part.previous != whole.digest:
            raise Broken(f"lines after {whole.last} of the audit trail do not follow it: some were taken out or put in")
        else:
            whole = Part(whole.lines + part.lines, whole.previous, part.last, part.digest)
    return whole


def main() -> None:
    """Walk the part that the one argument names, and tell what was found."""
    asked = json.loads(sys.argv[1])
    with closing(sqlite3.connect(f"{Path(asked['file']).absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            part = walk(connection, asked["first"], asked["last"])
        except Broken as broken:
            answer: dict[str, Any] | None = {"broken": str(broken)}
        else:
            answer = asdict(part) if part else None
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
