"""The pages in a real Chromium over a real node: a job is looked at, and people of each role try the buttons."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from factories import head, mr_series, write
from pages_house import HOSTILE, T1CE, studies
from processes import Node, free_port, is_ready, storescp, wait_until
from walk import Walk, prepare, send

PAGES = ["/", "/jobs", "/jobs/1", "/destinations", "/rules", "/rules?since=2020-01-01", "/upload", "/system"]
PAGES += ["/account", "/account?said=wrong", "/login", "/login?failed=403"]
PAGES += ["/shadow", "/drift", "/audit", "/audit?accession=A123", "/audit?question=6&accession=A123"]
TOML = """\
[node]
ae_title = "VBNODE"
[receive]
port = {port}
[[receive.peers]]
ae_title = "SENDER"
[assemble]
quiet_s = 1
[[routes]]
name = "brains"
destinations = ["pacs", "nowhere"]
[[destinations]]
name = "pacs"
ae_title = "PACS"
port = {pacs}
[[destinations]]
name = "nowhere"
ae_title = "NOWHERE"
port = 1
timeout_s = 2
[retention]
stop_at = 1
stop_free_gb = 0
[web]
port = {web}
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Give a node that has received a slab too thin for a head, and done what it could."""
    home = tmp_path_factory.mktemp("pages")
    port, pacs_port, web_port = free_port(), free_port(), free_port()
    (home / "node").mkdir()
    node = Node(home / "node", TOML.format(port=port, pacs=pacs_port, web=web_port), port)
    made = prepare(node, web_port, "pages")
    with storescp(home / "pacs", pacs_port):
        node.start()
        try:
            wait_until(lambda: is_ready(made.url), 60, "the pages answer")
            write(studies(), home / "study")
            send(home / "study", port)
            wait_until(lambda: len(node.jobs()) == 1 and node.jobs()[0].state == "FAILED", 120, "the job has ended")
            wait_until(lambda: any(one.state == "sent" for one in node.deliveries()), 60, "its report is at the PACS")
            yield made
        finally:
            node.stop()


@pytest.fixture(scope="module")
def shown(walk: Walk) -> Any:
    """Walk through all pages as an admin, in light and dark, at a desk and on a phone."""
    looks = [("light", 1280), ("dark", 1280), ("light", 390)]
    return walk.visit("a-admin", [{"path": p, "scheme": s, "width": w} for p in PAGES for s, w in looks])


def test_no_page_has_an_error_on_its_console_or_asks_another_host(shown: Any) -> None:
    assert (shown["errors"], shown["foreign"]) == ([], [])


def test_axe_finds_no_serious_violation_on_any_page_in_light_and_dark(shown: Any) -> None:
    assert {(p["path"], p["scheme"]): p["violations"] for p in shown["pages"] if p["violations"]} == {}


def test_no_page_is_wider_than_its_screen(shown: Any) -> None:
    assert {(p["path"], p["width"]): p["overflow"] for p in shown["pages"] if p["overflow"] > 0} == {}


def test_w_01_w_02_what_a_header_says_is_text_on_every_page_and_in_every_title(shown: Any) -> None:
    assert HOSTILE in _text(shown, "/jobs/1")
    assert {p["title"].rpartition(" - ")[2] for p in shown["pages"]} == {"VBNODE"}
    assert shown["errors"] == []


def test_the_overview_shows_the_failed_job_and_the_destination_that_is_down(shown: Any) -> None:
    text = _text(shown, "/")

    assert "1 jobs" in " ".join(text.split())
    assert "down for" in text
    assert "receive 1" in text


def test_the_page_of_a_job_goes_from_the_first_image_to_the_report_in_the_pacs(shown: Any) -> None:
    text = _text(shown, "/jobs/1")

    places = [
        text.index(words)
        for words in ("first image", "last image", "series closed", "job scheduled", "result created", "delivery sent")
    ]
    assert places == sorted(places)
    assert "quiet for 1 s" in text
    assert "OutOfCoverage" in text


def test_the_audit_finds_the_order_and_writes_down_who_looked(walk: Walk, shown: Any) -> None:
    assert "series closed" in _text(shown, "/audit?accession=A123")

    readers = {event.user for event in walk.node.events(event="audit trail read")}
    assert readers == {"a-admin"}


def test_an_auditor_has_a_question_answered(shown: Any) -> None:
    assert "delivery sent" in _text(shown, "/audit?question=6&accession=A123")


def test_an_operator_asks_the_destination_that_is_down(walk: Walk) -> None:
    (text,) = walk.visit("a-operator", [], [{"path": "/destinations", "button": "Ask now"}])["clicked"]

    assert "nowhere, just asked" in text
    assert "check host and port" in text


def test_files_are_judged_and_sent_in_by_button_and_by_drag_and_drop(walk: Walk, tmp_path: Path) -> None:
    again = [str(path) for path in write(mr_series(head((3, 16, 16)), AccessionNumber="UP"), tmp_path)]
    clicks = [{"path": "/rules", "button": "Judge", "files": again}, {"path": "/rules", "drop": again}]
    clicks += [{"path": "/upload", "button": "Send in", "files": again[:1]}, {"path": "/upload", "drop": again}]

    seen = walk.visit("a-operator", [], clicks)

    judged, dropped, sent, sent_again = seen["clicked"]
    assert "3 files came, 0 of them would be refused" in judged
    assert "brains" in judged
    assert judged.partition("Found")[2] == dropped.partition("Found")[2]
    assert "1 stored" in sent
    assert "3 stored" in sent_again
    assert seen["errors"] == []


def test_a_viewer_sees_no_button_and_an_operator_runs_a_job_again(walk: Walk) -> None:
    viewer = walk.visit("a-viewer", [{"path": "/jobs/1"}])
    operator = walk.visit("a-operator", [{"path": "/jobs/1"}], [{"path": "/jobs/1", "button": "Run again"}])

    assert viewer["pages"][0]["buttons"] == []
    assert operator["pages"][0]["buttons"] == ["Run again"]
    wait_until(lambda: bool(walk.node.events(event="job scheduled", user="a-operator")), 20, "who ran it again is told")


def test_an_auditor_reads_the_trail_and_a_viewer_does_not(walk: Walk) -> None:
    auditor = walk.visit("a-auditor", [{"path": "/audit?accession=A123"}])
    viewer = walk.visit("a-viewer", [{"path": "/audit?accession=A123", "script": False}])

    assert "series closed" in auditor["pages"][0]["text"]
    assert "a user who may audit expected" in viewer["pages"][0]["text"]


def test_a_job_can_be_read_without_javascript(walk: Walk) -> None:
    page = walk.visit("a-viewer", [{"path": "/jobs/1", "script": False}])["pages"][0]

    assert "first image" in page["text"]
    assert str(T1CE["AccessionNumber"]) in page["text"]


def test_a_stranger_is_led_to_the_login(walk: Walk) -> None:
    answer = httpx2.get(f"{walk.url}/jobs/1", headers={"Accept": "text/html"})

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/jobs/1"


def _text(shown: Any, path: str) -> str:
    return str(next(p["text"] for p in shown["pages"] if p["path"] == path))
