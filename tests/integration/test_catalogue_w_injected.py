"""Catalogue W-09 to W-11, W-14 and W-19 of RELIABILITY.md, section 4: words that want to be more than words."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from http_peer import Peer, http_peer
from listener_process import instance
from people import Browser, add_job, add_users, program
from processes import wait_until
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from web_process import HEADERS, WebProcess, ended, part

from storage.schema import Instance
from vb_node.dicomweb import qido
from vb_node.dicomweb.service import Service, exchange
from vb_node.errors import Later

DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "PACS"
"""
BREAKS = (
    "\r\nInjected: 1\r\n\r\n<b>",
    "\nInjected: 1",
    "\rInjected: 1",
    "\u2028Injected: 1",
    "\u560a\u560dInjected: 1",
)
SHELL = ("; touch ran", "$(touch ran)", "`touch ran`", "| touch ran", "\n touch ran", "'; touch ran #", "&& touch ran")
FIELDS = ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "ProtocolName", "AccessionNumber")
BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<NativeDicomModel>&b;&c;</NativeDicomModel>"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    add_users(process.database)
    yield process
    process.stop()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with http_peer() as made:
        yield made


@pytest.fixture
def admin(web: WebProcess) -> Iterator[Browser]:
    with Browser(web.url) as browser:
        browser.log_in("admin")
        yield browser


@pytest.mark.parametrize("words", BREAKS, ids=ascii)
def test_w_09_line_breaks_in_an_address_a_form_or_a_file_name_make_no_header(
    web: WebProcess, admin: Browser, words: str
) -> None:
    told, page = quote(words), {"Accept": "text/html"}

    answers = [httpx2.get(f"{web.url}/{path}", headers=page) for path in (f"jobs?{told}", told, f"login?next={told}")]
    answers.append(admin.post(f"/destinations/{told}/probe", headers=admin.page))
    answers.append(admin.post("/upload", files=[("files", (words, b"no DICOM"))], headers=admin.page))
    answers.append(admin.log_in("admin", next=words))
    answers.append(admin.get("/audit", params={"event": words, "format": "csv"}))

    assert [answer.status_code < 500 for answer in answers] == [True] * 7
    for answer in answers:
        assert "injected" not in answer.headers
        assert not [value for value in answer.headers.values() if not value.isascii() or not value.isprintable()]
    assert "ected: 1" not in "".join(answer.headers.get("location", "") for answer in answers[-2:])


@pytest.mark.parametrize(
    "line", [b"GET /jobs\rInjected: 1 HTTP/1.1", b"GET /jobs HTTP/1.1\nHost: evil\r", b"GET\0/ HTTP/1.1"]
)
def test_w_09_a_request_line_with_breaks_is_answered_by_no_page(web: WebProcess, line: bytes) -> None:
    with web.connect() as connection:
        connection.sendall(line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        answer = ended(connection, 10)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
    assert b"\nInjected" not in answer


def test_w_10_words_of_a_shell_run_nothing_wherever_they_stand(web: WebProcess, admin: Browser) -> None:
    marked = [_marked(words) for words in SHELL]
    before = {path for folder in (web.home, Path.cwd()) for path in folder.iterdir()}

    stored = web.post(marked)
    for words in SHELL:
        admin.post("/upload", files=[("files", (words, b"no DICOM"))], headers=admin.page)
        admin.get("/jobs", params={"accession": words}, headers={"User-Agent": words.strip()})
        admin.log_in(words, words)
    wait_until(lambda: _is_known(web, marked[-1]), 10, "the instances are in the ledger")
    after = {path for folder in (web.home, Path.cwd()) for path in folder.iterdir()}

    assert stored.status_code == 200
    assert [path for path in after - before if path.name == "ran"] == []


def _marked(words: str) -> Dataset:
    dataset = instance()
    for keyword in FIELDS:
        dataset.add_new(tag_for_keyword(keyword), dictionary_VR(keyword), words.strip()[:16])
    return dataset


def _is_known(web: WebProcess, dataset: Dataset) -> bool:
    with web.database.read() as session:
        return session.get(Instance, dataset.SOPInstanceUID) is not None


@pytest.mark.parametrize("begins", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_w_11_what_auditors_take_home_holds_no_formula(web: WebProcess, admin: Browser, begins: str) -> None:
    job_id = add_job(web.database, accession_number=begins)
    with program(web.url, "operator") as client:
        client.post(f"/api/v1/jobs/{job_id}/cancel")

    trail = admin.get("/audit", params={"job": job_id, "format": "csv"}).text
    answer = admin.get("/audit", params={"question": "9", "job": job_id, "format": "csv"}).text

    rows = [row for text in (trail, answer) for row in csv.reader(io.StringIO(text, newline=""))]
    assert [cell for row in rows for cell in row if begins.strip() in cell]
    assert [cell for row in rows for cell in row if cell.strip()[:1] in set("=+-@")] == []


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "http://169.254.169.254/latest", "PACS@127.0.0.1:1", "file:///etc/passwd"]
)
def test_w_14_only_a_destination_of_the_configuration_is_asked(admin: Browser, peer: Peer, name: str) -> None:
    answers = [
        admin.post(f"/destinations/{quote(told, safe='')}/probe", headers=admin.page) for told in (name, peer.url)
    ]
    beside = admin.post(
        "/destinations/pacs/probe", params={"url": peer.url}, data={"url": peer.url, "host": name}, headers=admin.page
    )

    assert [answer.status_code for answer in answers] == [404, 404]
    assert "PACS@127.0.0.1" in beside.text
    assert peer.came == []


def test_w_14_a_token_follows_no_redirect(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer open-sesame")
    with http_peer() as elsewhere:
        peer.status, peer.headers = 307, {"Location": elsewhere.url}
        answer = exchange(Service(peer.url, authorization_file=tmp_path / "token"), "POST", "/studies", longest_s=10)

    assert (answer.status, len(peer.came), elsewhere.came) == (307, 1, [])


@pytest.mark.parametrize("path", ["/dicom-web/studies", "/login", "/upload", "/rules"])
def test_w_19_xml_with_entities_is_refused_unread(web: WebProcess, admin: Browser, path: str) -> None:
    told = HEADERS if path.startswith("/dicom-web") else admin.page

    answer = admin.post(path, content=BOMB, headers=told | {"Content-Type": "application/dicom+xml"})

    assert answer.status_code in {401, 415}
    assert "root:" not in answer.text


def test_w_19_a_part_of_xml_is_no_instance(web: WebProcess) -> None:
    content = part(BOMB, "application/dicom+xml") + b"--b--\r\n"

    answer = httpx2.post(f"{web.url}/dicom-web/studies", content=content, headers=HEADERS)

    assert answer.status_code == 400  # it held no instance at all
    assert "root:" not in answer.text


def test_w_19_xml_that_another_service_answers_is_not_read(peer: Peer) -> None:
    peer.body, peer.headers = BOMB, {"Content-Type": "application/dicom+xml"}

    with pytest.raises(Later, match="no DICOM JSON"):
        qido.count_by_series(Service(peer.url), "1.2.3")
