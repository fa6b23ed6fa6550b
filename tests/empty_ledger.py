"""A ledger of this version with nothing in it: the migrations run once for all tests of a process."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database import Database


def empty_ledger(file: Path) -> Database:
    """Make a ledger in SQLite, in a folder that is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_made_once())
    return Database(f"sqlite:///{file}")


@cache
def _made_once() -> bytes:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/ledger.db")
        database.upgrade()
        database.close()
        return (Path(folder) / "ledger.db").read_bytes()
