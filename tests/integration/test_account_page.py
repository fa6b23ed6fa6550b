"""The page of one's own account: another password, and what it ends."""

from collections.abc import Iterator

import pytest
from people import PASSWORD, ROLES, Browser, add_users, program
from web_process import WebProcess

NEW = "a new correct horse"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web")).start()
    add_users(process.database)
    yield process
    process.stop()


def _change(browser: Browser, present: str, new: str, again: str | None = None) -> str:
    fields = {"present": present, "new": new, "again": new if again is None else again}
    answer = browser.post("/account/password", data=fields, headers=browser.page)
    return answer.headers["location"].partition("said=")[2]


def _logs_in(web: WebProcess, name: str, password: str) -> bool:
    with Browser(web.url) as browser:
        return browser.log_in(name, password).status_code == 303


@pytest.mark.parametrize("role", ROLES)
def test_everybody_sees_the_own_account(web: WebProcess, role: str) -> None:
    with Browser(web.url) as browser:
        browser.log_in(role)
        page = browser.get("/account").text
    with program(web.url, role) as client:
        of_program = client.get("/account").text

    assert "Another password" in page
    assert "an API token" in of_program
    assert "Another password" not in of_program


def test_another_password_counts_at_once_and_ends_the_other_sessions_only(web: WebProcess) -> None:
    with Browser(web.url) as here, Browser(web.url) as elsewhere:
        here.log_in("operator")
        elsewhere.log_in("operator")
        said = _change(here, PASSWORD, NEW)
        seen = [browser.get("/api/v1/jobs").status_code for browser in (here, elsewhere)]
        logins = [_logs_in(web, "operator", password) for password in (PASSWORD, NEW)]
        page = here.get("/account?said=changed").text

    assert said == "changed"
    assert seen == [200, 401]
    assert logins == [False, True]
    assert "Your other sessions have ended" in page
    changed = web.events(event="user changed", user="operator")
    assert [line.details for line in changed] == [{"name": "operator", "key": "password"}]


@pytest.mark.parametrize(
    ("present", "new", "again", "said"),
    [("wrong", NEW, NEW, "wrong"), (PASSWORD, NEW, "other", "differ"), (PASSWORD, "short", "short", "length")],
)
def test_a_password_that_is_not_right_changes_nothing(
    web: WebProcess, present: str, new: str, again: str, said: str
) -> None:
    with Browser(web.url, "127.0.3.1") as browser:
        browser.log_in("viewer")
        answered = _change(browser, present, new, again)

    assert answered == said
    assert _logs_in(web, "viewer", PASSWORD)


def test_guessing_the_present_password_of_an_open_session_is_throttled_and_told(web: WebProcess) -> None:
    with Browser(web.url, "127.0.3.2") as browser:
        browser.log_in("auditor")
        said = [_change(browser, f"guess {number}", NEW) for number in range(6)]

    assert said == ["wrong"] * 5 + ["wait"]
    refused = web.events(event="user changed", user="auditor")
    assert {(line.outcome, line.details["host"]) for line in refused} == {("refused", "127.0.3.2")}


def test_a_program_has_no_password_to_change(web: WebProcess) -> None:
    with program(web.url, "admin") as client:
        answer = client.post("/account/password", data={"present": "", "new": NEW, "again": NEW})

    assert answer.headers["location"] == "/account?said=wrong"


def test_w_15_no_other_page_changes_a_password(web: WebProcess) -> None:
    with Browser(web.url) as browser:
        browser.log_in("admin")
        fields = {"present": PASSWORD, "new": NEW, "again": NEW}
        answer = browser.post("/account/password", data=fields, headers={"Origin": web.url})

    assert answer.status_code == 403
