"""Catalogue W-13, W-15 and W-16 of RELIABILITY.md, section 4: who may do what by HTTP."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from people import PASSWORD, ROLES, TOKENS, Browser, add_job, add_users, program
from web_process import WebProcess

from storage import audit
from storage.database import Database
from storage.schema import Event
from vb_node.web.users import csrf_of

DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "PACS"
"""
CHANGES = ("/api/v1/jobs/{job}/retry", "/api/v1/jobs/{job}/cancel", "/api/v1/deliveries/{job}/send-again", "/logout")
CHANGES += ("/api/v1/destinations/pacs/send-again", "/destinations/pacs/send-again")
FAULTS = {
    "no token": {"X-CSRF-Token": ""},
    "wrong token": {"X-CSRF-Token": "0" * 64},
    "no origin": {"Origin": ""},
    "null origin": {"Origin": "null"},
    "other origin": {"Origin": "http://evil.example"},
    "other site": {"Sec-Fetch-Site": "cross-site"},
}
SEE, OPERATE, AUDIT = ("viewer", "operator", "auditor", "admin"), ("operator", "admin"), ("auditor", "admin")
ENDPOINTS = (
    ("GET", "/api/v1/jobs", SEE),
    ("GET", "/api/v1/jobs/{job}", SEE),
    ("GET", "/api/v1/destinations", SEE),
    ("GET", "/api/v1/stations", SEE),
    ("GET", "/api/v1/comparisons", SEE),
    ("GET", "/api/v1/audit", AUDIT),
    ("GET", "/api/v1/audit/verify", AUDIT),
    ("GET", "/api/v1/questions", AUDIT),
    ("GET", "/api/v1/questions/10", AUDIT),
    ("POST", "/api/v1/jobs/{job}/retry", OPERATE),
    ("POST", "/api/v1/jobs/{job}/cancel", OPERATE),
    ("POST", "/api/v1/deliveries/{job}/send-again", OPERATE),
    ("POST", "/api/v1/destinations/pacs/send-again", OPERATE),
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    add_users(process.database)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def database(web: WebProcess) -> Database:
    return web.database


def _events(database: Database, event: str) -> list[Event]:
    with database.read() as session:
        return list(audit.search(session, since=None, until=None, limit=1000, event=event))


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize(("method", "path", "allowed"), ENDPOINTS, ids=str)
def test_w_13_each_role_may_what_it_may_and_nothing_else(
    web: WebProcess, database: Database, role: str | None, method: str, path: str, allowed: tuple[str, ...]
) -> None:
    job_id = add_job(database)

    with program(web.url, role) as client:
        answer = client.request(method, path.format(job=job_id))

    if role is None:
        assert answer.status_code == 401
    elif role in allowed:
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 403
        assert _events(database, "access refused")[-1].user == f"{role}-program"


@pytest.fixture(scope="module")
def admin(web: WebProcess) -> Iterator[Browser]:
    with Browser(web.url) as browser:
        browser.log_in("admin")
        yield browser


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_w_15_a_change_that_no_page_of_ours_asked_for_is_refused(
    admin: Browser, database: Database, path: str, fault: str
) -> None:
    job_id = add_job(database)

    told = admin.page | FAULTS[fault]
    answer = admin.post(path.format(job=job_id), headers={name: value for name, value in told.items() if value})
    still = admin.get(f"/api/v1/jobs/{job_id}").json()

    assert answer.status_code == 403
    assert still["state"] == "SCHEDULED"
    assert still["deliveries"][0]["state"] == "parked"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/jobs/1", "/openapi.json", "/nothing"])
def test_w_15_no_method_that_changes_passes_without_the_token(admin: Browser, method: str, path: str) -> None:
    answer = admin.request(method, path, headers={"Origin": admin.origin})

    assert answer.status_code == 403


def test_w_15_a_program_without_a_token_is_told_so_as_json(web: WebProcess, database: Database) -> None:
    job_id = add_job(database)

    answer = httpx2.post(f"{web.url}/api/v1/jobs/{job_id}/cancel")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "API token" in answer.json()["error"]


def test_w_15_a_change_that_a_page_asks_for_is_made_and_tells_who(web: WebProcess, database: Database) -> None:
    job_id = add_job(database)

    with Browser(web.url) as browser:
        browser.log_in("operator")
        by_script = browser.post(f"/api/v1/jobs/{job_id}/cancel", headers=browser.page)
        field = {"csrf_token": browser.csrf["X-CSRF-Token"]}
        by_form = browser.post(f"/api/v1/jobs/{job_id}/retry", data=field, headers={"Origin": web.url})

    assert by_script.json()["state"] == "CANCELED"
    assert by_form.json()["state"] == "SCHEDULED"
    assert [line.user for line in _events(database, "job canceled") if line.job_id == job_id] == ["operator"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "[::1", "localhost@evil"])
def test_w_15_a_name_that_is_not_ours_is_refused(web: WebProcess, host: str) -> None:
    with program(web.url, "admin") as client:
        answers = [client.get(path, headers={"Host": host}) for path in ("/api/v1/jobs", "/metrics", "/openapi.json")]

    assert [answer.status_code for answer in answers] == [403] * 3


def test_w_15_localhost_and_the_address_itself_are_ours(web: WebProcess) -> None:
    with program(web.url, "viewer") as client:
        answers = [client.get("/api/v1/jobs", headers={"Host": name}) for name in ("localhost:1", "127.0.0.1")]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_w_16_guessing_is_throttled_by_name_and_by_address(web: WebProcess) -> None:
    with Browser(web.url, "127.0.0.9") as guesser, Browser(web.url, "127.0.0.10") as other:
        first = [guesser.log_in("auditor", f"guess number {number}") for number in range(5)]
        then = [guesser.log_in("auditor"), guesser.log_in("admin"), other.log_in("auditor")]
        beside = other.log_in("admin")

    assert [answer.status_code for answer in first] == [401] * 5
    assert [answer.status_code for answer in then] == [429] * 3
    assert int(then[0].headers["retry-after"]) > 60
    assert beside.status_code == 303


def test_w_16_a_name_that_is_no_users_is_answered_as_one_that_is(web: WebProcess) -> None:
    with Browser(web.url, "127.0.0.11") as browser:
        answers = [browser.log_in(name, "wrong") for name in ("viewer", "nobody", "viewer-program", "")]

    assert {(answer.status_code, answer.text) for answer in answers} == {
        (401, '{"error":"the name and the password of a user expected"}')
    }


def test_w_16_a_login_takes_a_new_secret_and_a_logout_ends_it(web: WebProcess) -> None:
    with Browser(web.url) as browser:
        browser.cookies.set("vb_node", "chosen-by-somebody-else", domain="127.0.0.1")
        browser.post("/login", data={"name": "viewer", "password": PASSWORD}, headers=browser.page)
        secret = browser.cookies.get("vb_node", path="/", domain="127.0.0.1")
        inside = browser.get("/api/v1/jobs")
        browser.post("/logout", headers={"Origin": web.url, "X-CSRF-Token": csrf_of(secret or "")})
        after = httpx2.get(f"{web.url}/api/v1/jobs", cookies={"vb_node": secret or ""})

    assert secret not in (None, "chosen-by-somebody-else")
    assert (inside.status_code, after.status_code) == (200, 401)


def test_w_16_a_token_in_the_address_opens_nothing(web: WebProcess) -> None:
    answer = httpx2.get(f"{web.url}/api/v1/jobs", params={"token": TOKENS["admin"], "access_token": TOKENS["admin"]})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil", "/a\r\nSet-Cookie: a=b", "javascript:1"]
)
def test_w_16_a_login_leads_nowhere_else(web: WebProcess, back: str) -> None:
    with Browser(web.url) as browser:
        answer = browser.log_in("viewer", next=back)

    assert answer.headers["location"] == "/"
    assert "a=b" not in answer.headers["set-cookie"]


def test_nobody_is_let_in_before_there_is_a_user_and_the_answer_says_how_to_add_one(tmp_path: Path) -> None:
    process = WebProcess(tmp_path / "web").start()

    answer = httpx2.get(f"{process.url}/api/v1/jobs")
    process.stop()

    assert answer.status_code == 403
    assert "vb-node users add NAME --role admin" in answer.json()["error"]


def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    process = WebProcess(tmp_path / "web", "session_h = 0.002").start()
    add_users(process.database)

    with Browser(process.url) as browser:
        browser.log_in("viewer")
        secret = {"vb_node": browser.cookies["vb_node"]}
        at_once = httpx2.get(f"{process.url}/api/v1/jobs", cookies=secret).status_code
        time.sleep(8)
        later = httpx2.get(f"{process.url}/api/v1/jobs", cookies=secret).status_code
    process.stop()

    assert (at_once, later) == (200, 401)
