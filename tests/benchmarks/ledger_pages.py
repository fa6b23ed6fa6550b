"""How quickly the web station answers over a large ledger: every endpoint, median and 95th percentile.

Run ``python tests/benchmarks/ledger_pages.py [--jobs 100000] [--times 40]`` and keep its table in docs/benchmarks.md.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
from big_ledger import APART_S, fill
from people import add_users, program
from web_process import WebProcess

from vb_node import show

DESTINATION = '\n[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
JOBS, AUDIT = "/api/v1/jobs", "/api/v1/audit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        web = WebProcess(Path(folder), DESTINATION)
        web.database.upgrade()
        begun = time.monotonic()
        fill(web.database, words.jobs)
        add_users(web.database)
        size_mb = (web.home / "data" / "ledger.db").stat().st_size >> 20
        print(f"{words.jobs} jobs, {10 * words.jobs} events, {size_mb} MB, filled in {time.monotonic() - begun:.0f} s")
        web.start()
        try:
            with program(web.url, "admin") as client:
                rows = [measure(client, path, words.jobs, words.times) for path in paths()]
                rows.append(measure(client, f"{AUDIT}/verify", words.jobs, 1))
        finally:
            web.stop()
    show.table("Milliseconds an answer", ["request", "times", "median", "95th percentile", "longest"], rows)


def paths() -> list[str]:
    """List what is asked; {n} is a job by chance, {t} and {u} the hour of one."""
    jobs = ["", "?limit=500", "?state=COMPLETED", "?state=FAILED", "?state=CANCELED&limit=500", "?before={n}"]
    jobs += ["?patient_id=P{n}", "?accession=A{n}", "?accession=none", "?study=2.25.{n}.1", "?series=2.25.{n}.2"]
    jobs += ["?application=virtual_biopsy", "?application=none", "?since={t}&until={u}", "?until={t}&state=FAILED"]
    events = ["", "?limit=1000", "?patient_id=P{n}", "?accession=A{n}", "?study=2.25.{n}.1", "?series=2.25.{n}.2"]
    events += ["?job={n}", "?sop=2.25.{n}.3.0", "?peer=MR1", "?event=job+failed", "?event=instance+received&since={t}"]
    events += ["?since={t}&until={u}", "?since={t}", "?user=admin", "?after={n}", "?peer=pacs&since={t}&until={u}"]
    others = ["/api/v1/jobs/{n}", "/api/v1/destinations", "/api/v1/stations", "/metrics", "/openapi.json"]
    return [JOBS + query for query in jobs] + [AUDIT + query for query in events] + others


def measure(client: httpx2.Client, path: str, jobs: int, times: int) -> list[object]:
    """Ask again and again, each time about another job, and give the row of the table."""
    took_ms, now = [], time.time()
    for _ in range(times):
        number = random.randrange(1, jobs)
        at = now - number * APART_S
        since, until = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (at, at + 3600))
        asked = path.replace("{n}", str(number)).replace("{t}", since).replace("{u}", until)
        begun = time.perf_counter()
        answer = client.get(asked, timeout=600)
        took_ms.append(1000 * (time.perf_counter() - begun))
        assert answer.status_code == 200, (asked, answer.text)
    high = sorted(took_ms)[int(0.95 * (times - 1))]
    return [path, times, *(f"{value:.1f}" for value in (statistics.median(took_ms), high, max(took_ms)))]


if __name__ == "__main__":
    main()
