"""A real PostgreSQL in a folder, as an unprivileged user, on a free port of loopback."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from processes import HOST, free_port
from sqlalchemy import create_engine, text

USER = "postgres"
FAST = "-c fsync=off -c full_page_writes=off -c listen_addresses=127.0.0.1"


class Postgres:
    """One server; ``fresh`` gives its database, empty."""

    def __init__(self) -> None:
        # not below pytest's folders: those are its user's alone
        self.home, self.port = Path(tempfile.mkdtemp(prefix="vb-node-postgres-")), free_port()
        self.data = self.home / "data"
        if os.getuid() == 0:
            shutil.chown(self.home, USER)
        self._run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        options = f"{FAST} -p {self.port} -k {self.home}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-o", options, "-l", str(self.home / "log"), "start")

    def stop(self, mode: str) -> None:
        """Stop the server: smart, fast or immediate (as a crash)."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop the server and leave nothing of it."""
        self.stop("immediate")
        shutil.rmtree(self.home)

    def fresh(self) -> str:
        """Empty the database and give its URL; one test at a time uses it."""
        server = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        server.dispose()
        return self.url

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@{HOST}:{self.port}/{USER}"

    def _run(self, program: str, *words: str) -> None:
        path = next(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        as_user = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
        subprocess.run([*as_user, str(path), *words], check=True, stdout=subprocess.DEVNULL, cwd=self.home)
