"""Catalogue W-03 to W-05, W-12, W-17 and W-20 of RELIABILITY.md, section 4: what is asked by HTTP, and what is told."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from certificates import Authority
from people import Browser, add_job, add_users, program
from web_process import WebProcess, ended

from storage.database import Database
from vb_node import __version__

DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "PACS"
"""
NASTY = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{7*7}}", "${7*7}")
INJECTIONS = (
    "' OR 1=1--",
    "%",
    "_",
    "P%",
    "\x00",
    "\ud7ff\x1b[31m",
    "x" * 65,
    "../../etc/passwd",
    '"; DROP TABLE jobs; --',
)
WORDS = ("application", "study", "series", "accession", "patient_id")
KNOWN = {"job_id", "delivery_id", "state", "before", "after", "limit", "since", "until", "sop", "peer", "job", "event"}
KNOWN |= {"user", "number", "version", "model", "route", "is_disagreement", "name", *WORDS}
PROTECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    add_users(process.database)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def database(web: WebProcess) -> Database:
    return web.database


@pytest.mark.parametrize("word", NASTY)
def test_w_03_errors_repeat_nothing_of_the_request_and_tell_no_path(web: WebProcess, word: str) -> None:
    with program(web.url, "admin") as client:
        answers = [
            client.get(f"/{quote(word)}"),
            client.get(f"/api/v1/jobs/{quote(word, safe='')}"),
            client.get("/api/v1/jobs", params={"state": word}),
            client.get("/api/v1/jobs", params={word: word}),
            client.delete("/api/v1/jobs"),
            client.post("/login", data={"name": word, "password": word}),
        ]

    assert {answer.status_code for answer in answers} <= {401, 404, 405, 422}
    for answer in answers:
        assert word not in answer.text
        assert "Traceback" not in answer.text
        assert not answer.headers["content-type"].startswith("text/html")


def test_w_03_a_fault_of_ours_tells_no_more_than_that(web: WebProcess) -> None:
    with sqlite3.connect(web.home / "data" / "ledger.db") as ledger:
        ledger.execute("ALTER TABLE outages RENAME TO elsewhere")

    with program(web.url, "viewer") as client:
        answer = client.get("/api/v1/destinations")
    with sqlite3.connect(web.home / "data" / "ledger.db") as ledger:
        ledger.execute("ALTER TABLE elsewhere RENAME TO outages")

    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault of this node; its log says more"}
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/nothing", "/health", "/metrics", "/openapi.json", "/dicom-web/x"])
def test_w_04_every_answer_is_protected(web: WebProcess, path: str) -> None:
    answer = httpx2.get(web.url + path)

    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert {name: answer.headers[name] for name in PROTECTED} == PROTECTED
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "server" not in answer.headers


def test_w_04_the_cookie_of_a_session_is_out_of_reach_of_scripts_and_other_sites(web: WebProcess) -> None:
    with Browser(web.url) as browser:
        cookie = browser.log_in("viewer").headers["set-cookie"]

    name, _, rest = cookie.partition("=")
    assert name == "vb_node"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(rest.split("; "))
    assert "Domain" not in cookie


def test_w_04_under_tls_the_cookie_is_secure_and_of_this_host_alone(tmp_path: Path) -> None:
    own = Authority(tmp_path).issue("node")
    tls = f'[web.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nrequire_peer = false\n'
    process = WebProcess(tmp_path / "web", tls, "https").start()
    add_users(process.database)

    with Browser(process.url) as browser:
        answer = browser.log_in("viewer")
        seen = browser.get("/api/v1/jobs")
    process.stop()

    assert answer.headers["set-cookie"].startswith("__Host-vb_node=")
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    assert "max-age" in answer.headers["strict-transport-security"]
    assert seen.status_code == 200


@pytest.mark.parametrize("word", INJECTIONS, ids=ascii)
def test_w_05_every_filter_takes_its_value_literally(web: WebProcess, database: Database, word: str) -> None:
    add_job(database)

    with program(web.url, "admin") as client:
        lists = [client.get("/api/v1/jobs", params={name: word}) for name in WORDS]
        lists += [client.get("/api/v1/audit", params={name: word}) for name in ("event", "user", "peer", "sop")]

    for answer in lists:
        assert answer.status_code in (200, 422)
        found = answer.json()
        assert not found.get("jobs")
        assert not found.get("events")


def test_w_05_a_wildcard_is_a_letter_like_any_other(web: WebProcess, database: Database) -> None:
    wanted = add_job(database, patient_id="a_b%")
    add_job(database, patient_id="axbc")

    with program(web.url, "viewer") as client:
        found = client.get("/api/v1/jobs", params={"patient_id": "a_b%"}).json()

    assert [job["id"] for job in found["jobs"]] == [wanted]


PAGES = {
    "/jobs": ("state", "accession", "patient_id", "study", "before"),
    "/jobs/1": ("slice",),
    "/audit": ("accession", "patient_id", "sop", "job", "event", "user", "since", "until", "question", "format"),
    "/rules": ("since",),
    "/account": ("said",),
    "/login": ("next", "failed"),
}


@pytest.mark.parametrize(
    "word", [*INJECTIONS, *NASTY, "-1", "1e999", str(2**63), "9" * 5000], ids=lambda one: ascii(one)[:20]
)
def test_w_05_every_word_that_a_page_is_asked_for_is_only_a_word(
    web: WebProcess, database: Database, word: str
) -> None:
    add_job(database)

    with Browser(web.url) as browser:
        browser.log_in("admin")
        asked = [(path, name) for path, names in PAGES.items() for name in names]
        answers = {(path, name): browser.get(path, params={name: word}) for path, name in asked}

    assert {asked: answer.status_code for asked, answer in answers.items() if answer.status_code >= 500} == {}
    assert [
        asked for asked, answer in answers.items() if "<img src=x" in answer.text or "alert(1)</s" in answer.text
    ] == []


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"}, {"limit": "501"}, {"limit": "1e9"}, {"before": "-1"}, {"before": str(2**63)}, {"sort": "key"},
        {"since": "yesterday"}, {"state": "completed"}, {"state": "x" * 1_000}, {"patient": "P1"}, {"key": "a"},
    ],
    ids=str,
)  # fmt: skip
def test_w_05_a_word_that_is_not_known_is_refused_and_never_left_out(web: WebProcess, asked: dict[str, str]) -> None:
    with program(web.url, "viewer") as client:
        answer = client.get("/api/v1/jobs", params=asked)

    assert answer.status_code == 422
    assert answer.json()["wrong"]


def test_w_05_a_megabyte_in_a_filter_is_refused(web: WebProcess) -> None:
    with web.connect() as connection:
        with suppress(OSError):  # cut off in the middle: that too is an answer
            connection.sendall(b"GET /api/v1/jobs?patient_id=" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = ended(connection, 10)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_w_12_no_parameter_of_the_api_is_a_path_of_the_server(web: WebProcess) -> None:
    described = httpx2.get(f"{web.url}/openapi.json").json()

    operations = [operation for path in described["paths"].values() for operation in path.values()]
    names = {parameter["name"] for operation in operations for parameter in operation.get("parameters", ())}

    assert names == KNOWN
    assert not [operation for operation in operations if "requestBody" in operation]


def test_w_17_what_a_request_brings_stays_in_one_short_line_of_the_log(web: WebProcess) -> None:
    nasty = 'x\n{"event": "forged"}\x1b[31m' + "y" * 3000
    with Browser(web.url, "127.0.0.12") as browser:
        browser.log_in(nasty, nasty)
        browser.get("/api/v1/jobs", params={"patient_id": nasty}, headers={"Authorization": "Bearer " + "z" * 3000})
        browser.get(f"/{quote(nasty)}")

    log = web.log.read_text()

    assert "forged" not in [json.loads(line)["event"] for line in log.splitlines()]
    assert not [letters for letters in ("\x1b", "y" * 1001, "z" * 100) if letters in log]


def test_w_20_a_stranger_learns_no_patient_and_no_version(web: WebProcess, database: Database) -> None:
    add_job(database, patient_id="CANARY-20", accession_number="CANARY-21")

    told = "".join(httpx2.get(web.url + path).text for path in ("/health", "/ready", "/metrics", "/api/v1/jobs", "/"))

    assert "CANARY" not in told
    assert __version__ not in told
    assert "python" not in told.lower()
