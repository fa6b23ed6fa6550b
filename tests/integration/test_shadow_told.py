"""What people and programs are told of shadow routes: page, API and command line over one ledger."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from people import Browser, add_job, add_users, program
from web_process import WebProcess

from storage import comparisons, jobs

TRIAL = '\n[[routes]]\nname = "trial"\nshadow = true\n[routes.virtual_biopsy]\nlocalizer = "network"\n'
SIDE = {"result": "localised", "confidence": 0.7, "class": "Glioma", "probabilities": {"Glioma": 0.9, "PCNSL": 0.1}}
SIDE |= {"lesions": 1, "volume_ml": 2.5, "seconds": 40.0}
NOTHING = SIDE | {"result": "not localised", "class": None, "probabilities": {}, "lesions": 0, "volume_ml": 0.0}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """Serve a ledger with a pair that agrees and, before it, one that does not."""
    process = WebProcess(tmp_path_factory.mktemp("web"), TRIAL).start()
    add_users(process.database)
    for shadow, dice, differs in ((NOTHING, 0.0, ["result", "class", "lesion"]), (SIDE, 0.9, [])):
        pair = [add_job(process.database, route=route, is_shadow=route == "trial") for route in ("live", "trial")]
        figures = {"live": SIDE, "shadow": shadow, "dice": dice, "centres_mm": 1.5, "differs": differs}
        with process.database.write() as session:
            live, trial = (jobs.get(session, job_id) for job_id in pair)
            comparisons.record(session, trial, live, figures, is_disagreement=bool(differs), now=live.created_at)
    yield process
    process.stop()


def test_the_page_shows_disagreements_first_to_whoever_may_see_jobs(web: WebProcess) -> None:
    with Browser(web.url) as browser:
        browser.log_in("viewer")
        page = browser.get("/shadow", params={"days": "7"})

    assert page.status_code == 200
    assert page.text.index("result, class, lesion") < page.text.index("<td>nothing</td>")
    assert "trial</strong> (virtual_biopsy, with settings of its own)" in page.text
    assert 'href="/jobs/2"' in page.text


def test_the_page_of_a_shadow_job_says_that_it_is_not_sent(web: WebProcess) -> None:
    with Browser(web.url) as browser:
        browser.log_in("viewer")
        pages = [browser.get(f"/jobs/{job_id}").text for job_id in (1, 2)]

    assert ["not sent" in page for page in pages] == [False, True]


def test_a_program_asks_for_disagreements_and_reads_on(web: WebProcess) -> None:
    with program(web.url, "viewer") as client:
        found = client.get("/api/v1/comparisons", params={"is_disagreement": True}).json()
        first = client.get("/api/v1/comparisons", params={"limit": 1}).json()
        second = client.get("/api/v1/comparisons", params={"limit": 1, "before": first["next"]}).json()

    assert [one["differs"] for one in found["comparisons"]] == [["result", "class", "lesion"]]
    assert [one["comparisons"][0]["shadow_job"] for one in (first, second)] == [4, 2]
    assert (first["summaries"][0]["pairs"], first["summaries"][0]["result_agreement"]) == (2, 0.5)


def test_the_command_line_tells_the_same(web: WebProcess) -> None:
    command = [sys.executable, "-m", "vb_node", "jobs", "compare", "--config", str(web.home / "node.toml")]

    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    wide = os.environ | {"COLUMNS": "160"}
    table = subprocess.run(command, capture_output=True, text=True, check=True, env=wide)

    assert [one["shadow_job"] for one in json.loads(told.stdout)["pairs"]] == [2, 4]
    assert "localised / not localised" in table.stdout
