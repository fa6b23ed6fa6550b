"""The ledger when a node starts, and the process of one station."""

import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from storage import associations, stations
from storage.database import Damaged, Database, SchemaMismatch, has_wal_reset_fault
from vb_node.config import Settings
from vb_node.errors import ConfigError, Later, NodeError
from vb_node.runtime import line, supervised

log = logging.getLogger(__name__)

BEAT_S = 4.0
WRONG_CONFIGURATION, FAILED = 2, 1  # with the first a station ends that another start would not help
WEB = "web"  # the station of the floor above
KINDS = ("sqlite", "postgresql+psycopg")
LEDGERS = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
TAKING = (line.RECEIVE, WEB)  # these listen, and beat by themselves: while they are silent, no study counts as quiet

LAX = "a power cut would lose what was answered Success"
REMEDY = (
    "keep a copy of it, then put your last backup in its place, or move it away: at the next start the instances are "
    "read again from the spool, jobs and audit trail stay in the copy"
)


def open_ledger(settings: Settings) -> Database:
    """Open the ledger and bring its tables to this version.

    Raises
    ------
    ConfigError
        Its address is none, or it is of another version, or damaged.
    Later
        It cannot be reached.
    """
    address = _address(settings)
    try:
        database = Database(settings.database_url)
        database.upgrade()
    except (OSError, OperationalError) as error:
        why = str(error.orig).strip() if isinstance(error, OperationalError) else error.strerror
        raise Later(f"the ledger {address} cannot be opened ({why}): is it there, and may we write?") from error
    except SchemaMismatch as mismatch:
        raise ConfigError(str(mismatch)) from mismatch
    except Damaged as damage:
        raise ConfigError(f"{damage}; {REMEDY}") from damage
    return database


def _address(settings: Settings) -> URL:
    """Read the ledger's address, which is told without its password; raise ``ConfigError``."""
    try:
        address = make_url(settings.database_url)
    except (ArgumentError, ValueError):  # what they quote may be of the password
        raise ConfigError(f"node.database: {LEDGERS} expected, no address came") from None
    if "@" in (address.host or "") or "password" in address.query:
        raise ConfigError(
            f"node.database: {LEDGERS} expected, a password came that is no such one: write it there, an @ in it as %40"
        )
    if address.drivername not in KINDS:
        raise ConfigError(f"node.database: {LEDGERS} expected, one of {address.drivername!r} came")
    return address


def check_ledger(settings: Settings) -> None:
    """Look at the whole ledger before anything starts, and end what an earlier run left; raise ``ConfigError``."""
    with closing(open_ledger(settings)) as database:
        try:
            database.check()
        except Damaged as damage:
            raise ConfigError(f"{damage}; {REMEDY}") from damage
        if lax := database.lax_settings():
            raise ConfigError(f"the ledger's PostgreSQL has {', '.join(lax)} off: {LAX}; set them on")
        with database.write() as session:
            stations.forget_all(session)  # perhaps there were others
            associations.interrupt(session, now=time.time())
    if has_wal_reset_fault():
        log.warning(
            "SQLite is older than 3.51.3: writers and checkpoints are kept apart by a lock",
            extra={"sqlite": sqlite3.sqlite_version},
        )


def run_station(name: str, settings: Settings, station: line.Station) -> int:
    """Run one station in this process until SIGTERM or SIGINT; give the exit status."""
    stop, number = supervised.obey(), supervised.own.number
    try:
        with closing(open_ledger(settings)) as database, _heard(database, name, number):
            station(database, settings, stop, number)
    except NodeError as error:
        print(f"vb-node: {error}", file=sys.stderr)
        return WRONG_CONFIGURATION if isinstance(error, ConfigError) else FAILED
    except Exception:
        log.exception("station failed", extra={"station": name})
        return FAILED
    finally:
        stop.set()  # its threads end too
    return 0


def heard_as(name: str, number: int = 1) -> str:
    """Name a process of a station as the ledger does: the pages take instances too, as a process that receives."""
    return f"{line.RECEIVE} {name}" if name == WEB else f"{name} {number}"


@contextmanager
def _heard(database: Database, station: str, number: int) -> Iterator[None]:
    """Have the ledger say that this process lives, until it ends in order."""
    if station in TAKING:  # it says so itself
        yield
        return
    name, since, is_over = heard_as(station, number), time.time(), threading.Event()

    def beat() -> None:
        while not is_over.is_set():
            _write(database, lambda session: stations.hear(session, name, since=since, now=time.time()))
            is_over.wait(BEAT_S)

    beating = threading.Thread(target=beat, name="beat", daemon=True)
    beating.start()
    try:
        yield
    finally:
        is_over.set()
        beating.join()
        _write(database, lambda session: stations.forget(session, name))


def _write(database: Database, say: Callable[[Session], None]) -> None:
    try:
        with database.write() as session:
            say(session)
    except Exception:  # the next beat may come through
        log.exception("not in the ledger", extra={"of": "station alive"})
