"""The ledger when a node starts, and the process of one station."""

import logging
import sqlite3
import time
from contextlib import closing

from storage import associations, stations
from storage.database import Damaged, Database, SchemaMismatch, has_wal_reset_fault
from vb_node.config import Settings
from vb_node.errors import ConfigError
from vb_node.runtime import line, receive, supervised

log = logging.getLogger(__name__)

REMEDY = (
    "keep a copy of it, then put your last backup in its place, or move it away: at the next start the instances are "
    "read again from the spool, jobs and audit trail stay in the copy"
)


def open_ledger(settings: Settings) -> Database:
    """Open the ledger and bring its tables to this version; raise ``ConfigError``."""
    database = Database(settings.database_url)
    try:
        database.upgrade()
    except SchemaMismatch as mismatch:
        raise ConfigError(str(mismatch)) from mismatch
    except Damaged as damage:
        raise ConfigError(f"{damage}; {REMEDY}") from damage
    return database


def check_ledger(settings: Settings) -> None:
    """Look at the whole ledger before anything starts, and end what an earlier run left; raise ``ConfigError``."""
    with closing(open_ledger(settings)) as database:
        try:
            database.check()
        except Damaged as damage:
            raise ConfigError(f"{damage}; {REMEDY}") from damage
        with database.write() as session:
            stations.forget(session, receive.STATION)  # perhaps it had more processes
            associations.interrupt(session, now=time.time())
    if has_wal_reset_fault():
        log.warning(
            "SQLite is older than 3.51.3: writers and checkpoints are kept apart by a lock",
            extra={"sqlite": sqlite3.sqlite_version},
        )


def run_station(name: str, settings: Settings, station: line.Station) -> int:
    """Run one station in this process until SIGTERM or SIGINT; give the exit status."""
    stop = supervised.obey()
    database = open_ledger(settings)
    try:
        station(database, settings, stop, supervised.number())
    except ConfigError:
        raise
    except Exception:
        log.exception("station failed", extra={"station": name})
        return 1
    finally:
        database.close()
    return 0
