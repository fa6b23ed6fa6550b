"""A real PostgreSQL in a folder, as an unprivileged user, on a free port of loopback."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from processes import HOST, free_port
from sqlalchemy import Connection, create_engine, text

from storage.database import Database

USER, LEDGER, EMPTY = "postgres", "ledger", "empty_ledger"
ALONE, LAX = "-c listen_addresses=127.0.0.1", "-c fsync=off -c full_page_writes=off"


class Postgres:
    """One server; ``fresh`` gives its database with the tables of this version, and nothing in them.

    Unless it ``is_durable``, which a node asks for, it is quick and would lose commits at a power cut.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        self.options = ALONE if is_durable else f"{ALONE} {LAX}"
        # not below pytest's folders: those are its user's alone
        self.home, self.port = Path(tempfile.mkdtemp(prefix="vb-node-postgres-")), free_port()
        self.data = self.home / "data"
        self._is_prepared = False
        if os.getuid() == 0:
            shutil.chown(self.home, USER)
        self._run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        options = f"{self.options} -p {self.port} -k {self.home}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-o", options, "-l", str(self.home / "log"), "start")

    def stop(self, mode: str) -> None:
        """Stop the server: smart, fast or immediate (as a crash)."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop the server and leave nothing of it."""
        self.stop("immediate")
        shutil.rmtree(self.home)

    def fresh(self) -> str:
        """Make the database anew and give its URL; one test at a time uses it."""
        server = create_engine(self._url(USER), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            if not self._is_prepared:
                self._prepare(connection)
            connection.execute(text(f"DROP DATABASE IF EXISTS {LEDGER} WITH (FORCE)"))
            connection.execute(text(f"CREATE DATABASE {LEDGER} TEMPLATE {EMPTY}"))
        server.dispose()
        return self._url(LEDGER)

    def _prepare(self, connection: Connection) -> None:
        """Run the migrations once for all tests of a process."""
        connection.execute(text(f"CREATE DATABASE {EMPTY}"))
        database = Database(self._url(EMPTY))
        database.upgrade()
        database.close()
        self._is_prepared = True

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@{HOST}:{self.port}/{name}"

    def _run(self, program: str, *words: str) -> None:
        path = next(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        as_user = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
        subprocess.run([*as_user, str(path), *words], check=True, stdout=subprocess.DEVNULL, cwd=self.home)
