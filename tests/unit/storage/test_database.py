"""The ledger's database: durable, one writer at a time, of one version."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Inspector, bindparam, create_engine, inspect, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import stations
from storage.database import MIGRATIONS, Database, SchemaMismatch, newest_version
from storage.schema import Series, Table

SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@SQLITE_ONLY
@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_a_commit_survives_a_power_cut(database: Database, pragma: str, value: object) -> None:
    with database.write() as session:
        found = session.execute(text(f"PRAGMA {pragma}")).scalar()

    assert found == value


@SQLITE_ONLY
def test_the_migrations_make_the_tables_that_the_code_knows(database: Database, tmp_path: Path) -> None:
    made = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    Table.metadata.create_all(made)

    with database.read() as migrated, made.connect() as direct:
        found, wanted = (inspect(source) for source in (migrated.connection(), direct))
        tables = set(found.get_table_names()) - {"alembic_version"}

        assert tables == set(wanted.get_table_names())
        for name in tables:
            assert _columns(found, name) == _columns(wanted, name)


def _columns(inspector: Inspector, table: str) -> dict[str, tuple[str, bool]]:
    return {one["name"]: (str(one["type"]), one["nullable"]) for one in inspector.get_columns(table)}


def test_writers_of_many_threads_never_meet_a_locked_database(database: Database) -> None:
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            for turn in range(10):
                with database.write() as session:
                    stations.start(session, f"s{number}", now=float(turn))
        except Exception as error:  # noqa: BLE001  any failure fails the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def fail_in_mid_transaction() -> None:
        with database.write() as session:
            stations.start(session, "receive", now=1.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_mid_transaction()

    with database.read() as session:
        assert stations.get(session, "receive") is None


def test_the_newest_version_is_that_of_the_last_migration(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.read() as session:
        written = session.execute(text("SELECT version_num FROM alembic_version")).scalar()

    assert newest_version() == written == ScriptDirectory.from_config(config).get_current_head()


def test_a_ledger_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch, match="9999"):
        database.upgrade()


def _reluctant(failures: int, tries: list[int]) -> Callable[[Session], str]:
    """Make a change that the ledger undoes so often before it takes it."""

    def change(session: Session) -> str:
        tries.append(len(tries))
        stations.start(session, f"try {len(tries)}", now=1.0)
        if len(tries) <= failures:
            session.execute(text("SELECT * FROM a_table_that_is_not_there"))
        return "taken"

    return change


@SQLITE_ONLY  # there a missing table is an operational error, as a full disk is on both
@pytest.mark.parametrize("failures", [0, 1, 3])
def test_what_must_not_be_forgotten_is_written_again_until_the_ledger_takes_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr("storage.database.AGAIN_S", (0.0, 0.0, 0.0))
    tries: list[int] = []

    assert database.persist(_reluctant(failures, tries)) == "taken"

    with database.read() as session:
        assert [one.name for one in stations.listing(session)] == [f"try {failures + 1}"]


@SQLITE_ONLY
def test_a_ledger_that_takes_nothing_is_told_in_the_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.AGAIN_S", (0.0, 0.0, 0.0))
    tries: list[int] = []

    with pytest.raises(OperationalError):
        database.persist(_reluctant(4, tries))

    assert len(tries) == 4


def test_a_question_that_the_ledger_cannot_answer_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")

    with pytest.raises(OperationalError, match="no such table"):
        empty.ask(select(Series.series_instance_uid))

    empty.close()


def test_a_question_without_an_answer_gives_nothing(database: Database) -> None:
    question = select(Series.study_instance_uid).where(Series.series_instance_uid == bindparam("series"))

    assert database.ask(question, series="1.2.3") == ()
