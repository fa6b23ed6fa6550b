"""A ledger in PostgreSQL that fails to serialise: so many of its transactions end in 40001 at their commit (L-06).

Run ``python tests/chaos/serialization.py``; about one in ``--each`` of the transactions that write to the audit trail,
which each change of state does, is undone as a serialization failure, and every invariant must hold. Exit status: 0
everything holds, 1 something fails.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kill import drain, failed, judge
from peers import Pacs, Sender
from postgres import Postgres
from processes import free_port
from sqlalchemy import text
from victim import Victim

FAILING = """\
CREATE SEQUENCE failures;
CREATE FUNCTION fail_sometimes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF txid_current() % {each} = 0 THEN
        PERFORM nextval('failures');
        RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fail_sometimes();
"""


def run(home: Path, server: Postgres, each: int, seconds: float) -> int:
    """Have a node work over such a ledger and judge it; give the exit status."""
    pacs_port, begun = free_port(), time.monotonic()
    pacs = Pacs(pacs_port, home / "pacs.jsonl", seed=1)
    with Victim(home, pacs_port, None, url=server.fresh()) as victim:
        with victim.database.write() as session:
            session.execute(text(FAILING.format(each=each)))
        victim.wait_until_up()
        sender = Sender(victim.port)
        sender.start()
        time.sleep(seconds)
        drain_s = drain(victim, [sender], set())
        findings = judge(victim, [sender], pacs, drain_s)
    with victim.database.read() as session:
        undone = session.scalar(text("SELECT last_value FROM failures WHERE is_called"))
    print(*findings, sep="\n")
    print(f"{undone or 0} transactions failed to serialise, {time.monotonic() - begun:.0f} s")
    return int(not undone or failed(findings))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long series are sent")
    words = parser.parse_args()
    server = Postgres(is_durable=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory() as home:
            return run(Path(home), server, words.each, words.seconds)
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main())
