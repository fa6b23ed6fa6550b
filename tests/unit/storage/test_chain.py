"""The chain of the audit trail, walked by several processes in an SQLite ledger."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.trail import fill
from sqlalchemy import text

from storage import audit, chain
from storage.chain import Broken, Part
from storage.database import Database

LINES, PROCESSES = 2500, 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def trail(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    fill(database, LINES)
    yield database
    database.close()


def _edit(database: Database, statement: str) -> None:
    with database.write() as session:
        session.execute(text(statement))


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_several_processes_find_what_one_finds(trail: Database, file: Path, processes: int) -> None:
    with trail.read() as session:
        alone = audit.verify(session)

    assert chain.walk_by_several(file, LINES, processes) == alone
    assert alone.lines == alone.last == LINES


def test_an_empty_trail_has_no_parts(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    database.upgrade()

    assert chain.walk_by_several(tmp_path / "empty.db", 0, PROCESSES) is None
    database.close()


@pytest.mark.parametrize("seq", [1, 833, 834, 1666, 2500])
@pytest.mark.parametrize("change", ["at = at + 1e-6", "previous = digest"])
def test_an_edit_is_found_wherever_the_parts_meet(trail: Database, file: Path, change: str, seq: int) -> None:
    _edit(trail, f"UPDATE events SET {change} WHERE seq = {seq}")  # noqa: S608

    with pytest.raises(Broken, match=rf"line(s after)? {seq}\b|after {seq - 1} |follow line {seq - 1}\b"):
        _verified(file)


@pytest.mark.parametrize("seq", [2, 833, 834, 2499])
def test_a_line_that_was_taken_out_is_found_wherever_the_parts_meet(trail: Database, file: Path, seq: int) -> None:
    _edit(trail, f"DELETE FROM events WHERE seq = {seq}")

    with pytest.raises(Broken, match="some were taken out or put in"):
        _verified(file)


def _verified(file: Path) -> Part | None:
    return chain.walk_by_several(file, LINES, PROCESSES)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("peer = ''", "line 1200 of the audit trail was changed"),  # nothing is no empty text
        ("peer = x'4D5231'", "line 1200 of the audit trail was changed"),  # the bytes of MR1: no search would find it
        ("patient_id = CAST(x'FFFE' AS TEXT)", "cannot be read"),
        ("details = 'no JSON'", "cannot be read"),
        ("details = x'FF'", "cannot be read"),
        ("at = 'yesterday'", "line 1200 of the audit trail was changed"),
        ("job_id = '7, 8'", "line 1200 of the audit trail was changed"),
        ("details = details || ' '", None),  # the same details
    ],
)
def test_what_no_station_writes_is_told_and_ends_no_walk(trail: Database, change: str, reason: str | None) -> None:
    _edit(trail, f"UPDATE events SET {change} WHERE seq = 1200")  # noqa: S608

    with trail.read() as session:
        if reason is None:
            assert audit.verify(session).lines == LINES
        else:
            with pytest.raises(Broken, match=reason):
                audit.verify(session)


def test_words_that_need_an_escape_are_digested_as_sqlite_puts_them_together(trail: Database, file: Path) -> None:
    said = "".join(map(chr, range(1, 256))) + "Ω漢🧠\u2028\u202e"
    with trail.write() as session:
        audit.record(session, "a", now=1e9 / 7, actor=said, details={"said": said, "1": [None, 1e-7, True]}, user="")

    found = chain.walk_by_several(file, LINES + 1, PROCESSES)
    with trail.read() as session:
        row = session.execute(text("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1")).one()
    assert found is not None
    assert (found.last, found.digest) == tuple(row)


def test_words_do_not_move_from_one_column_to_another(trail: Database) -> None:
    with trail.write() as session:
        audit.record(session, "a", now=1.0, actor="test", peer='MR1","P1', patient_id="P2")
    _edit(trail, f"""UPDATE events SET peer = 'MR1', patient_id = 'P1","P2' WHERE seq = {LINES + 1}""")  # noqa: S608

    with trail.read() as session, pytest.raises(Broken, match=f"line {LINES + 1} "):
        audit.verify(session)


def test_a_long_trail_is_walked_by_a_process_on_each_core_and_what_is_not_committed_by_one(
    trail: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "WORTH_A_PROCESS", 100)
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(PROCESSES)))
    before = os.times().children_user
    with trail.read() as session:
        whole = audit.verify(session)
    by_several = os.times().children_user
    with trail.write() as session:
        audit.record(session, "a", now=1.0, actor="test")
        longer = audit.verify(session)

    assert before < by_several == os.times().children_user
    assert (whole.lines, longer.lines) == (LINES, LINES + 1)
