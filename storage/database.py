"""The ledger's database: SQLite by default, PostgreSQL when grown.

SQLite runs in WAL with ``synchronous=FULL`` (a commit survives a power cut) and every writing transaction is
``BEGIN IMMEDIATE`` (a deferred one fails with SQLITE_BUSY as soon as another writer came between). Writers of one
file queue on an ``flock``: SQLite's own busy handler is unfair, and SQLite before 3.51.3 may lose pages when a
commit meets a checkpoint of another connection.
"""

import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Compiled, Connection, Engine, Select, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, DBAPIError, InternalError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=10000",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "temp_store=MEMORY",
)


DURABLE = ("fsync", "full_page_writes", "synchronous_commit")  # settings of PostgreSQL
SAFE_SQLITE = (3, 51, 3)
AGAIN_S = (0.1, 0.5, 2.0, 5.0)
_WRITER = text("SELECT pg_advisory_xact_lock(4711)")
_FINDS_OUT = {  # that PostgreSQL's host has gone without a word
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

Made = TypeVar("Made")


class SchemaMismatch(Exception):
    """The ledger was written by another version of the node."""


class Damaged(Exception):
    """The ledger cannot be read as it is."""


def has_wal_reset_fault() -> bool:
    """Say whether this SQLite may lose pages where a commit meets a checkpoint: the ``flock`` keeps them apart."""
    return sqlite3.sqlite_version_info < SAFE_SQLITE


def is_of_the_ledger(error: Exception) -> bool:
    """Say whether the ledger is at fault, as when it is full, read-only, damaged or away, and not what was written."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or type(error) in (OperationalError, InternalError, DatabaseError)
    return isinstance(error, OSError | MemoryError | TimeoutError)


class Database:
    """One ledger, reached by a writing and two reading engines."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._lock_path: Path | None = None
        self._log: Path | None = None
        if self.url.get_backend_name() == "sqlite":
            file = Path(self.url.database or "")
            file.parent.mkdir(parents=True, exist_ok=True)
            self._lock_path = file.with_name(file.name + ".lock")
            self._log = file.with_name(file.name + "-wal")
        self._writer = self._engine("BEGIN IMMEDIATE")
        self._reader = self._engine("BEGIN", "query_only=ON")
        self._asker = self._engine(None, "query_only=ON")
        self._compiled: dict[Select[Any], Compiled] = {}

    def _engine(self, begin: str | None, *pragmas: str) -> Engine:
        """Make an engine whose transactions start with ``begin``, or whose statements each stand alone."""
        is_sqlite = self._lock_path is not None
        alone: dict[str, Any] = {} if is_sqlite or begin else {"isolation_level": "AUTOCOMMIT"}
        if not is_sqlite:
            alone["connect_args"] = {key: one for key, one in _FINDS_OUT.items() if key not in self.url.query}
        # parameters hold patient data, and an exception's text may reach a log
        engine = create_engine(self.url, pool_pre_ping=not is_sqlite, hide_parameters=True, **alone)
        if is_sqlite:
            event.listen(engine, "connect", lambda connection, _record: _prepare_sqlite(connection, pragmas))
        if is_sqlite and begin:
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open one writing transaction; it commits at the end of the block, or leaves nothing.

        It is alone from its first look on: in between, nobody changes what it goes by.
        """
        with self._queue(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            if self._lock_path is None:
                session.execute(_WRITER)
            yield session

    def persist(self, change: Callable[[Session], Made]) -> Made:
        """Make a change that tells of what is done already, and give what it gives.

        Where the ledger does not take it (a full disk, a deadlock, a failed serialization), it is made again.

        Raises
        ------
        OperationalError
            The ledger did not take it for some seconds.
        """
        for pause_s in AGAIN_S:
            try:
                with self.write() as session:
                    return change(session)
            except OperationalError:
                log.warning("ledger not written, tried again", exc_info=True)
                time.sleep(pause_s)
        with self.write() as session:
            return change(session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open one short reading transaction."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def ask(self, question: Select[Any], **values: Any) -> tuple[Any, ...]:
        """Give the one row that answers a question about some texts, empty where none does; of no transaction.

        A statement that is made once is compiled once, and the driver itself is asked: a quarter of the time of
        ``read``, for what is asked before each answer to a peer.

        Raises
        ------
        OperationalError
            The ledger cannot be read.
        """
        compiled = self._compiled.get(question)
        if compiled is None:
            compiled = self._compiled[question] = question.compile(self._asker)
        order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        connection = self._asker.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(compiled.string, values if order is None else [values[name] for name in order])
            return tuple(cursor.fetchone() or ())
        except self._asker.dialect.loaded_dbapi.OperationalError as error:
            raise OperationalError(compiled.string, None, error) from error
        finally:
            connection.close()

    @contextmanager
    def _queue(self) -> Iterator[None]:
        if self._lock_path is None:
            yield
            return
        try:
            lock = self._lock_path.open("w")
        except OSError as error:  # a process that has no descriptor left, a disk that has become read-only
            raise OperationalError("open the ledger's lock", None, error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def changes(self) -> int | None:
        """Give a number that a commit of any process changes, so that who waits for one need not ask the ledger.

        None: this ledger has no such number.
        """
        if self._log is None:
            return None
        try:
            written = self._log.stat()
        except FileNotFoundError:
            return 0
        except OSError:
            return None
        return written.st_mtime_ns + written.st_size  # of two commits in one tick of the clock, the second is longer

    def log_backlog(self) -> int:
        """Give the bytes of commits that cannot go on from the log into an SQLite ledger's file, as somebody reads.

        What can is taken there first (PRAGMA wal_checkpoint(PASSIVE)). 0: this ledger has no such log.
        """
        if self._lock_path is None:
            return 0
        with self._queue(), closing(self._asker.raw_connection()) as connection:
            cursor = connection.cursor()
            _is_busy, frames, taken = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            (page,) = cursor.execute("PRAGMA page_size").fetchone()
        return int((frames - taken) * page)

    def upgrade(self) -> None:
        """Bring the tables to this version; raise ``SchemaMismatch`` for a ledger of a newer one."""
        with self._readable(), self._queue(), self._writer.begin() as connection:
            if _version(connection) != newest_version():
                from storage.upgrade import upgrade  # late: Alembic takes a fifth of a second to import

                upgrade(connection)

    def lax_settings(self) -> list[str]:
        """Name the settings by which a PostgreSQL ledger would lose commits at a power cut; an SQLite one has none."""
        if self._lock_path is not None:
            return []
        with self._reader.connect() as connection:
            return [name for name in DURABLE if connection.execute(text(f"SHOW {name}")).scalar() == "off"]

    def check(self) -> None:
        """Look at every page of an SQLite ledger; raise ``Damaged`` if one is not what it was."""
        if self._lock_path is None:
            return
        with self._readable(), self._reader.connect() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if verdict != "ok":
            raise Damaged(f"the ledger {self.url.database} is damaged: {verdict}")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OperationalError:
            raise
        except DatabaseError as error:
            raise Damaged(f"the ledger {self.url.database} is damaged: {error.orig}") from error

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()
        self._asker.dispose()


def newest_version() -> str:
    """Give the version of the tables that this node writes: its last migration."""
    return max(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _version(connection: Connection) -> str | None:
    """Give the version of a ledger's tables; None where there are none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _prepare_sqlite(connection: Any, pragmas: Sequence[str]) -> None:
    connection.isolation_level = None  # SQLAlchemy, not sqlite3, says BEGIN
    for pragma in (*_PRAGMAS, *pragmas):
        connection.execute(f"PRAGMA {pragma}")
