"""How quickly the web station answers over a large ledger: pages, API and questions, median and 95th percentile.

Run ``python tests/benchmarks/ledger_pages.py [--jobs 100000] [--times 40] [--home FOLDER]`` and keep its table in
docs/benchmarks.md; a ledger that lies in the folder already is used again. ``--only WORD`` asks fewer.
"""

import argparse
import os
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

from storage import jobs
from storage.database import Database
from vb_node import show

DESTINATION = '\n[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
JOBS, AUDIT, ASK = "/api/v1/jobs", "/api/v1/audit", "/api/v1/questions"
RARE = [f"{ASK}/12", f"{AUDIT}/verify"]  # they walk the whole chain
SPAN = "since={t}&until={u}"
MODELS = ("localizer", "many", "few", "none")
QUESTIONS = [
    *(f"{ASK}/{one}?accession=A{{n}}" for one in (1, 3, 4, 5, 6, 8, 9, 11, 12)),
    *(f"{ASK}/{one}?patient_id=P{{n}}" for one in (1, 3, 4, 6, 12, 14)),
    *(f"{ASK}/{one}?{words}&limit=10000" for one in (2, 8, 9, 11) for words in ("since={t}", SPAN)),
    *(f"{ASK}/{one}?limit=10000" for one in (2, 8, 9, 10, 11)),
    *(f"{ASK}/7?version=1{words}&limit=10000" for words in ("", "&since={t}", f"&{SPAN}")),
    *(f"{ASK}/10?{words}" for words in ("since={t}", SPAN)),
    f"{ASK}/13?job={{n}}",
    *(f"{ASK}/7?model={one}{words}&limit=10000" for one in ("localizer", "few") for words in ("", f"&{SPAN}")),
    *RARE,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--only", default="")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        web = WebProcess(words.home or Path(folder), DESTINATION)
        web.database.upgrade()
        begun = time.monotonic()
        if not (words.home and is_filled(web.database)):
            fill(web.database, words.jobs)
            add_users(web.database)
        size_mb = (web.home / "data" / "ledger.db").stat().st_size >> 20
        print(f"{words.jobs} jobs, {10 * words.jobs} events, {size_mb} MB, filled in {time.monotonic() - begun:.0f} s")
        web.start()
        wanted = [path for path in [*paths(), *QUESTIONS] if words.only in path]
        try:
            with program(web.url, "admin") as client:
                rows = [measure(client, path, words.jobs, 3 if path in RARE else words.times) for path in wanted]
        finally:
            web.stop()
    print(f"load average {os.getloadavg()[0]:.1f}")
    show.table("Milliseconds an answer", ["request", "times", "median", "95th percentile", "longest"], rows)


def is_filled(database: Database) -> bool:
    with database.read() as session:
        return bool(jobs.listing(session, limit=1))


def paths() -> list[str]:
    """List what is asked; {n} is a job by chance, {t} and {u} the hour of one."""
    lists = ["", "?limit=500", "?state=COMPLETED", "?state=FAILED", "?state=CANCELED&limit=500", "?before={n}"]
    lists += ["?patient_id=P{n}", "?accession=A{n}", "?accession=none", "?study=2.25.{n}.1", "?series=2.25.{n}.2"]
    lists += ["?application=virtual_biopsy", "?application=none", "?since={t}&until={u}", "?until={t}&state=FAILED"]
    events = ["", "?limit=1000", "?patient_id=P{n}", "?accession=A{n}", "?study=2.25.{n}.1", "?series=2.25.{n}.2"]
    events += ["?job={n}", "?sop=2.25.{n}.3.0", "?peer=MR1", "?event=job+failed", "?event=instance+received&since={t}"]
    events += ["?since={t}&until={u}", "?since={t}", "?user=admin", "?after={n}", "?peer=pacs&since={t}&until={u}"]
    events += [f"?model={one}{words}" for one in MODELS for words in ("", "&event=job+completed", "&since={t}")]
    others = ["/api/v1/jobs/{n}", "/api/v1/destinations", "/api/v1/stations", "/metrics", "/openapi.json"]
    pages = ["/", "/jobs", "/jobs?state=FAILED", "/jobs?patient_id=P{n}", "/jobs?accession=none", "/jobs?before={n}"]
    pages += ["/jobs/{n}", "/destinations", "/rules", "/upload", "/system", "/audit", "/audit?accession=A{n}"]
    pages += ["/audit?peer=MR1", "/audit?user=admin", "/audit?question=6&accession=A{n}", "/audit?question=9"]
    pages += ["/audit?model=localizer", "/audit?model=few", "/audit?question=7&model=localizer"]
    pages += ["/shadow", "/drift"]
    return pages + [JOBS + query for query in lists] + [AUDIT + query for query in events] + others


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
