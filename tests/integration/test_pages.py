"""The pages by HTTP, without a browser: what each role sees and may, and what is refused in words."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from audited import Audited
from cells import saboteur_installed
from people import ROLES, Browser, add_users, program
from web_process import WebProcess

from storage import audit
from storage.schema import Event


class Site(WebProcess):
    """A web station over the ledger of a node that has done its work."""

    def __init__(self, house: Audited) -> None:
        super().__init__(house.home)
        self.house = house
        house.configure(self.port)

    @contextmanager
    def browser(self, name: str) -> Iterator[Browser]:
        with Browser(self.url) as browser:
            assert browser.log_in(name).status_code == 303
            yield browser

    def told(self, event: str) -> list[Event]:
        with self.database.read() as session:
            return list(audit.search(session, since=None, until=None, limit=1000, event=event))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with saboteur_installed():
        house = Audited(tmp_path_factory.mktemp("site"))
        add_users(house.database)
        made = Site(house).start()
        yield made
        made.stop()
        house.database.close()


@pytest.mark.parametrize("role", ROLES)
def test_a_question_is_asked_on_the_page_by_an_auditor_only_and_told(site: Site, role: str) -> None:
    with site.browser(role) as browser:
        answer = browser.get("/audit", params={"question": "3", "accession": "A123"})

    if role in {"auditor", "admin"}:
        assert answer.status_code == 200
        assert answer.text.count("COPY") == 2
        assert site.told("audit log used")[-1].user == role
    else:
        assert answer.status_code == 403


def test_an_answer_is_downloaded_as_csv(site: Site) -> None:
    with site.browser("auditor") as browser:
        answer = browser.get("/audit", params={"question": "4", "job": "1", "format": "csv"})

    assert answer.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"question": "3"}, "at least one of accession_number"),
        ({"question": "99"}, "a question from 1 to 14"),
        ({"question": "x"}, "a question from 1 to 14"),
        ({"job": "x"}, "the number of a job"),
        ({"since": "yesterday"}, "a time such as 2026-11-21"),
        ({"version": "1"}, "Version can be asked of a question"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_told_on_the_page(site: Site, asked: dict[str, str], said: str) -> None:
    with site.browser("auditor") as browser:
        answer = browser.get("/audit", params=asked)

    assert answer.status_code == 422
    assert said in answer.text


def test_the_api_answers_a_question_and_says_what_is_not_told(site: Site) -> None:
    with program(site.url, "auditor") as client:
        listed = client.get("/api/v1/questions").json()["questions"]
        answer = client.get("/api/v1/questions/5", params={"accession": "A123", "limit": 1})
        wrong = client.get("/api/v1/questions/5", params={"user": "anna"})
        none = client.get("/api/v1/questions/15")

    told = answer.json()
    assert [one["number"] for one in listed] == list(range(1, 15))
    assert (len(told["rows"]), told["is_cut"]) == (1, True)
    assert "GPU" in told["not_told"]
    assert (wrong.status_code, none.status_code) == (422, 404)
