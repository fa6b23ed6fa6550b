"""The pages by HTTP, without a browser: what each role sees and may, and what is refused in words."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from audited import Audited
from cells import saboteur_installed
from people import ROLES, Browser, add_job, add_users, program
from plugins.saboteur import WEIGHTS
from processes import wait_until
from pydicom import Dataset, dcmwrite
from pydicom.uid import generate_uid
from sqlalchemy import update
from stations import series_of
from web_process import WebProcess

from storage import audit, deliveries
from storage.schema import Delivery, Event

HTML = "text/html; charset=utf-8"


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


@pytest.mark.parametrize("model", [*WEIGHTS, *WEIGHTS.values()], ids=["name", "digest"])
def test_the_trail_is_searched_by_model_by_auditors_and_programs(site: Site, model: str) -> None:
    with site.browser("auditor") as browser:
        shown = browser.get("/audit", params={"model": model, "event": "job completed"}).text
        unknown = browser.get("/audit", params={"model": "anvil"}).text
    with program(site.url, "auditor") as client:
        lines = client.get("/api/v1/audit", params={"model": model, "event": "job completed"}).json()["events"]
        rows = client.get("/api/v1/questions/7", params={"model": model}).json()["rows"]

    assert (shown.count(">job completed<"), "Nothing fits" in unknown) == (2, True)
    assert [line["job_id"] for line in lines] == [row["job_id"] for row in rows] == [1, 2]


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


@pytest.mark.parametrize("path", ["/rules", "/upload"])
@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_only_an_operator_gives_the_node_files(site: Site, role: str, path: str) -> None:
    with site.browser(role) as browser:
        shown = browser.get(path)
        given = browser.post(path, files=_files(site.house.images), headers=browser.page)

    assert shown.status_code == (200 if path == "/rules" else 403)
    assert 'type="file"' not in shown.text
    assert given.status_code == 403


@pytest.mark.parametrize("path", ["/rules", "/upload"])
def test_w_15_a_form_with_files_shows_its_token_first_or_is_refused(site: Site, path: str) -> None:
    with site.browser("operator") as browser:
        token = ("csrf_token", (None, browser.csrf["X-CSRF-Token"]))
        files, origin = _files(site.house.images), {"Origin": site.url}
        forms = {"first": [token, *files], "last": [*files, token], "none": files, "wrong": [_token("0" * 64), *files]}
        forms["long"] = [_token("0" * 100_000), *files]
        answers = {name: browser.post(path, files=form, headers=origin).status_code for name, form in forms.items()}

    assert answers == {"first": 200, "last": 403, "none": 403, "wrong": 403, "long": 403}


def test_a_file_is_judged_and_nothing_of_it_is_kept(site: Site) -> None:
    files = set((site.house.node.data / "spool").rglob("*"))
    lines = len(site.told("instance received"))

    with site.browser("operator") as browser:
        images, left = (
            browser.post("/rules", files=_files(each), headers=browser.page)
            for each in (site.house.images, site.house.left)
        )

    assert ">taken<" in images.text
    assert "the route&#39;s rule does not match" in left.text
    assert set((site.house.node.data / "spool").rglob("*")) == files
    assert len(site.told("instance received")) == lines
    assert list(site.house.node.data.glob("tmp*")) == []
    assert site.told("rules tried")[-1].details == {"files": 2, "refused": 0}


def test_a_file_that_would_be_refused_is_told_and_not_judged(site: Site) -> None:
    with site.browser("operator") as browser:
        answer = browser.post("/rules", files=[_file(b"no DICOM at all"), _file(b"")], headers=browser.page)

    assert answer.status_code == 200
    assert "2 files came, 2 of them would be refused" in answer.text


def test_a_dry_run_says_what_was_made_until_now(site: Site) -> None:
    with site.browser("operator") as browser:
        found = browser.get("/rules", params={"since": "2020-01-01"})
        wrong = browser.get("/rules", params={"since": "tomorrow"})
    with site.browser("viewer") as browser:
        refused = browser.get("/rules", params={"since": "2020-01-01"})

    assert "job 2 COMPLETED" in found.text
    assert (wrong.status_code, refused.status_code) == (422, 403)


def test_uploaded_files_come_in_under_the_users_name_and_are_told(site: Site) -> None:
    sent = series_of(generate_uid(), 3, AccessionNumber="UPLOADED")

    with site.browser("operator") as browser:
        answer = browser.post("/upload", files=[*_files(sent), _file(b"no DICOM")], headers=browser.page)

    uids = {str(one.SOPInstanceUID) for one in sent}

    def came() -> list[str | None]:
        return [event.peer for event in site.told("instance received") if event.sop_instance_uid in uids]

    wait_until(lambda: len(came()) == 3, 10, "the ledger holds what was answered")
    assert "3 stored" in answer.text
    assert "1 refused" in answer.text
    assert came() == ["operator"] * 3
    (told,) = [event for event in site.told("files uploaded") if event.details["stored"]][-1:]
    assert (told.user, told.details) == ("operator", {"stored": 3, "refused": 1})


@pytest.mark.parametrize("path", ["/rules", "/upload"])
@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"x", 415),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nhalf", 400),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=b", b"x" * (25 << 20), 400),
    ],
    ids=["no form", "half", "no boundary", "no end"],
)
def test_what_is_no_form_with_files_is_refused(
    site: Site, path: str, content_type: str, body: bytes, code: int
) -> None:
    with site.browser("operator") as browser:
        answer = browser.post(path, content=body, headers=browser.page | {"Content-Type": content_type})

    assert answer.status_code == code


def _files(datasets: Sequence[Dataset]) -> list[tuple[str, tuple[str, bytes]]]:
    return [_file(_content(one)) for one in datasets]


def _content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _file(content: bytes) -> tuple[str, tuple[str, bytes]]:
    return "file", ("a.dcm", content)


def _token(value: str) -> tuple[str, tuple[None, str]]:
    return "csrf_token", (None, value)


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_may_only_look_sees_no_button_and_asks_no_destination(site: Site, role: str) -> None:
    with site.browser(role) as browser:
        page = browser.get("/destinations")
        asked = browser.post("/destinations/folder/probe", headers=browser.page)

    assert (page.status_code, asked.status_code) == (200, 403)
    assert "Ask now" not in page.text
    assert "Send again" not in page.text


def test_an_operator_asks_a_destination_and_that_is_told(site: Site) -> None:
    with site.browser("operator") as browser:
        answers = browser.post("/destinations/folder/probe", headers=browser.page)
        none = browser.post("/destinations/elsewhere/probe", headers=browser.page)
        without = browser.post("/destinations/folder/probe", headers={"Origin": site.url})

    assert "folder, just asked" in answers.text
    assert (none.status_code, without.status_code) == (404, 403)
    assert [(event.user, event.peer) for event in site.told("destination probed")] == [("operator", "folder")]


def test_a_parked_delivery_is_sent_again_from_the_page_once(site: Site) -> None:
    job_id = add_job(site.database)
    with site.database.read() as session:
        (parked,) = [one for one in deliveries.parked(session, limit=10) if one.job_id == job_id]

    with site.browser("operator") as browser:
        before = browser.get("/destinations")
        field = {"csrf_token": browser.csrf["X-CSRF-Token"]}
        answers = [
            browser.post(f"/deliveries/{parked.id}/send-again", data=field, headers={"Origin": site.url}).status_code
            for _ in range(2)
        ]

    assert f"Send delivery {parked.id} again" in before.text
    assert answers == [303, 409]
    assert site.told("delivery resumed")[-1].user == "operator"


def test_all_that_is_parked_for_a_destination_is_sent_again_after_a_page_has_asked(site: Site) -> None:
    job_ids = [add_job(site.database) for _ in range(2)]
    with site.database.write() as session:
        session.execute(update(Delivery).where(Delivery.job_id.in_(job_ids)).values(destination="folder"))

    with site.browser("operator") as browser:
        link = browser.get("/destinations")
        asked = [browser.get("/destinations/folder/send-again").text for _ in range(2)]
        field = {"csrf_token": browser.csrf["X-CSRF-Token"]}
        answers = [
            browser.post("/destinations/folder/send-again", data=field, headers={"Origin": site.url}).status_code
            for _ in range(2)
        ]
    with site.browser("viewer") as browser:
        refused = browser.get("/destinations/folder/send-again").status_code

    assert 'href="/destinations/folder/send-again"' in link.text
    assert all("<button>Send all 2 again</button>" in page for page in asked)
    assert (answers, refused) == ([303, 409], 403)
    (event,) = site.told("deliveries resumed")
    assert (event.user, event.peer, event.details) == ("operator", "folder", {"count": 2})


def test_what_is_parked_for_a_destination_that_is_gone_has_no_button(site: Site) -> None:
    add_job(site.database)

    with site.browser("operator") as browser:
        page = browser.get("/destinations/pacs/send-again")

    assert "pacs is not in the configuration" in page.text
    assert "<button>Send all" not in page.text


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/audit", 403, "a user who may audit expected; viewer is viewer"),
        ("/jobs/987654", 404, "there is no job 987654"),
        ("/no/such/page", 404, "Not Found"),
    ],
)
def test_a_person_is_told_no_on_a_page_from_which_one_goes_on(site: Site, path: str, code: int, said: str) -> None:
    with site.browser("viewer") as browser:
        page = browser.get(path, headers={"Accept": "text/html"})
        text = browser.get(path, headers={"Accept": "*/*"})

    assert (page.status_code, text.status_code) == (code, code)
    assert (page.headers["content-type"], text.headers["content-type"]) == (HTML, "text/plain; charset=utf-8")
    assert said in page.text
    assert said in text.text
    assert 'href="/jobs"' in page.text
