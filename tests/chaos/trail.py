"""Random edits of an audit trail, each of which must be found.

Run ``python tests/chaos/trail.py --lines 10000 --edits 1000``.

The short form is L-09 in tests/unit/storage/test_audit.py, on both databases.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from sqlalchemy import delete, inspect, select, update
from sqlalchemy.orm import Session

from storage import audit
from storage.chain import Broken
from storage.database import Database
from storage.schema import AuditHead, Event

COLUMNS = sorted({column.name for column in inspect(Event).columns} - {"seq"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'ledger.db'}")
        database.upgrade()
        fill(database, words.lines)
        begun = time.monotonic()
        left = missed(database, words.edits, words.seed)
        database.close()
    took_s = time.monotonic() - begun
    found = f"{words.edits - len(left)} of {words.edits} edits of {words.lines} lines found"
    print(f"{found} in {took_s:.0f} s; missed {left}")
    sys.exit(bool(left))


def fill(database: Database, lines: int) -> None:
    """Write so many lines, as the stations do."""
    with database.write() as session:
        audit.record_all(session, [_line(number) for number in range(lines)])


def _line(number: int) -> dict[str, object]:
    keys = {"patient_id": f"P{number}", "accession_number": "A1", "job_id": number, "user": "u"}
    return audit.line("a", now=float(number), actor="test", details={"n": number}, **keys)


def missed(database: Database, edits: int, seed: int) -> list[int]:
    """Edit so often, and give the numbers of the edits that nobody found."""
    chance = Random(seed)
    return [number for number in range(edits) if not _is_found(database, chance)]


def _is_found(database: Database, chance: Random) -> bool:
    """Change the trail in one way, verify it, and take the change back."""
    with Session(database._writer) as session:
        _tamper(session, chance)
        try:
            audit.verify(session)
        except Broken:
            return True
        finally:
            session.rollback()
    return False


def _tamper(session: Session, chance: Random) -> None:
    kind = chance.choice(["column", "delete", "cut", "swap", "put on", "head"])
    seqs = list(session.scalars(select(Event.seq).order_by(Event.seq)))
    seq = chance.choice(seqs)
    if kind == "column":
        column = chance.choice(COLUMNS)
        changed = {"at": 0.5, "job_id": 99, "details": {"n": -1}}.get(column, "x" * 16)
        session.execute(update(Event).where(Event.seq == seq).values({column: changed}))
    elif kind == "delete":
        session.execute(delete(Event).where(Event.seq == seq))
    elif kind == "cut":
        session.execute(delete(Event).where(Event.seq >= seq))
    elif kind == "swap":
        other = chance.choice([one for one in seqs if one != seq])
        for old, new in ((seq, -1), (other, seq), (-1, other)):
            session.execute(update(Event).where(Event.seq == old).values(seq=new))
    elif kind == "put on":
        last = session.get_one(Event, seqs[-1])
        line = Event(
            seq=seqs[-1] + 1, at=99.0, event="a", outcome="success", actor="t", details={}, previous=last.digest
        )
        line.digest = audit.digest_of(line)
        session.add(line)
    else:
        session.execute(update(AuditHead).values(digest="0" * 64))
    session.flush()


if __name__ == "__main__":
    main()
