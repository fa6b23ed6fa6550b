"""Instances by STOW-RS: who may send, what is answered for each, and what is kept."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx2
import pytest
from factories import affine, head, mr_series, write
from listener_process import instance
from processes import wait_until
from pydicom import Dataset, dcmread
from pydicom.uid import UID, JPEG2000Lossless, generate_uid
from web_process import HEADERS, TOKEN, WebProcess, body, chunk, part, said
from web_process import head as request_head

from storage.schema import Instance
from storage.spool import Spool
from vb_node.dicomweb import stow
from vb_node.dicomweb.service import Service
from vb_node.runtime.receive import is_intact

ANSWERED_S = 60.0
KILLS = int(os.environ.get("VB_NODE_STOW_KILLS", "3"))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web")).start()
    yield process
    process.stop()


def _associations(web: WebProcess, series_instance_uid: str) -> list[tuple[int, float | None]]:
    with sqlite3.connect(web.home / "data" / "ledger.db") as ledger:
        query = (
            "select distinct a.is_released, a.ended_at from associations a join instances i on i.association_id = a.id"
            " where i.series_instance_uid = ?"
        )
        return ledger.execute(query, [series_instance_uid]).fetchall()


def test_a_series_is_stored_and_each_instance_told(web: WebProcess) -> None:
    series = mr_series(head((5, 16, 16)))

    answer = web.post(series)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    told = [one.ReferencedSOPInstanceUID for one in said(answer).ReferencedSOPSequence]
    assert told == [one.SOPInstanceUID for one in series]
    assert "FailedSOPSequence" not in said(answer)
    wait_until(lambda: len(web.instances(series[0].SeriesInstanceUID)) == 5, 5, "the ledger holds all")
    assert {one.peer for one in web.instances(series[0].SeriesInstanceUID)} == {"ROUTER"}


def test_a_request_that_came_whole_counts_as_a_released_association(web: WebProcess) -> None:
    series = mr_series(head((3, 16, 16)))

    web.post(series)

    wait_until(lambda: len(web.instances(series[0].SeriesInstanceUID)) == 3, 5, "the ledger holds all")
    wait_until(lambda: all(end for _, end in _associations(web, series[0].SeriesInstanceUID)), 5, "it has ended")
    assert [released for released, _ in _associations(web, series[0].SeriesInstanceUID)] == [1]


def test_a_request_that_breaks_off_keeps_what_was_whole_and_is_not_released(web: WebProcess) -> None:
    series = mr_series(head((3, 16, 16)))

    with web.connect() as connection:
        connection.sendall(request_head() + chunk(part(series[0]) + part(series[1]) + part(series[2])[:500]))
        wait_until(lambda: len(web.instances(series[0].SeriesInstanceUID)) == 2, 5, "the ledger holds what was whole")

    wait_until(lambda: all(end for _, end in _associations(web, series[0].SeriesInstanceUID)), 5, "it has ended")
    assert [released for released, _ in _associations(web, series[0].SeriesInstanceUID)] == [0]
    assert len(web.instances(series[0].SeriesInstanceUID)) == 2


def test_x_09_the_file_meta_information_of_a_peer_is_not_kept(web: WebProcess) -> None:
    dataset = instance()
    dataset.file_meta.PrivateInformationCreatorUID, dataset.file_meta.PrivateInformation = "1.2.3", b"SECRET"
    dataset.file_meta.SourceApplicationEntityTitle = "SOMEBODY"
    before = web.files()

    web.post([dataset])

    (path,) = web.files() - before
    kept = dcmread(path)
    assert kept.file_meta.get("SourceApplicationEntityTitle") is None
    assert b"SECRET" not in path.read_bytes()
    assert kept == dataset


def test_a_compressed_instance_keeps_its_transfer_syntax(web: WebProcess, tmp_path: Path) -> None:
    (path,) = write(mr_series(head((1, 64, 64))), tmp_path, JPEG2000Lossless)
    before = web.files()

    assert web.post([path.read_bytes()]).status_code == 200

    (kept,) = web.files() - before
    assert dcmread(kept).file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert dcmread(kept).PixelData == dcmread(path).PixelData


def _changed(dataset: Dataset, **attributes: object) -> Dataset:
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _deflated() -> Dataset:
    dataset = instance()
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    return dataset


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (_changed(instance(), SOPClassUID=UID("1.2.840.10008.1.1")), 409, 0x0122),
        (_deflated(), 409, 0xC122),
        (part(instance())[:-20].split(b"\r\n\r\n", 1)[1], 409, 0xC001),
        (_changed(instance(), StudyInstanceUID="1.02.a"), 409, 0xC005),
        (_changed(instance(), PixelData=bytes(7)), 409, 0xA903),
        (_changed(instance(), Rows=2400, Columns=2400, PixelData=bytes(2400 * 2400 * 2)), 413, 0xA702),
    ],
    ids=["class", "deflated", "cut", "uid", "pixels", "too large"],
)
def test_what_is_refused_is_told_with_the_status_of_c_store(
    web: WebProcess, content: Dataset | bytes, status: int, reason: int
) -> None:
    answer = web.post([content])

    (failed,) = said(answer).FailedSOPSequence
    assert (answer.status_code, failed.FailureReason) == (status, reason)


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(128) + b"DICM"])
def test_what_is_no_dicom_is_another_failure(web: WebProcess, content: bytes) -> None:
    answer = web.post([content])

    assert answer.status_code == 400
    assert [one.FailureReason for one in said(answer).OtherFailuresSequence] == [0xC000]


def test_one_bad_instance_does_not_cost_the_others(web: WebProcess) -> None:
    good, other = instance(), instance()

    answer = web.post([good, b"no DICOM", _changed(instance(), StudyInstanceUID="a"), other])

    assert answer.status_code == 202
    told = [one.ReferencedSOPInstanceUID for one in said(answer).ReferencedSOPSequence]
    assert told == [good.SOPInstanceUID, other.SOPInstanceUID]


def test_the_same_instance_again_is_stored_and_another_content_is_not(web: WebProcess) -> None:
    dataset = instance()

    first, again = web.post([dataset]), web.post([dataset])
    other = web.post([_changed(dataset, PatientID="ANOTHER")])

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert said(other).FailedSOPSequence[0].FailureReason == 0x0111


def test_a_request_to_a_study_takes_instances_of_that_study_only(web: WebProcess) -> None:
    mine, other = instance(), instance()
    other.StudyInstanceUID = generate_uid()

    answer = web.post([mine, other], study=mine.StudyInstanceUID)

    assert answer.status_code == 202
    assert said(answer).FailedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert web.post([mine], study="..%2f..").status_code in (400, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'}, 415),
        ({"Content-Type": "multipart/form-data; boundary=b"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": 'multipart/related; type="application/dicom"; boundary=other'}, 400),
    ],
)
def test_another_body_is_refused_and_told(web: WebProcess, headers: dict[str, str], status: int) -> None:
    told = len(web.events(event="instance refused"))

    assert web.post([instance()], headers).status_code == status

    wait_until(lambda: len(web.events(event="instance refused")) > told, 5, "the refusal is in the audit trail")
    refused = web.events(event="instance refused")[-1]
    assert (refused.peer, refused.outcome, refused.details["host"]) == ("ROUTER", "refused", "127.0.0.1")


@pytest.mark.parametrize("changed", [{"SOPClassUID": UID("1.2.840.10008.1.1")}, {"Rows": 3}], ids=["class", "content"])
def test_an_instance_that_is_refused_before_or_by_the_receiver_is_told_once(
    web: WebProcess, changed: dict[str, object]
) -> None:
    dataset = _changed(instance(), **changed)

    web.post([dataset])
    web.post([instance()])

    wait_until(lambda: web.events(sop_instance_uid=dataset.SOPInstanceUID), 5, "the refusal is in the audit trail")
    assert [line.event for line in web.events(sop_instance_uid=dataset.SOPInstanceUID)] == ["instance refused"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer 0123456789abcdeg", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_nobody_is_let_in_without_the_token(web: WebProcess, authorization: str) -> None:
    files, told = web.files(), len(web.events(event="association rejected"))

    answer = web.post([instance()], {"Authorization": authorization})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert web.files() == files
    wait_until(lambda: len(web.events(event="association rejected")) > told, 5, "the refusal is in the audit trail")


def test_a_stranger_is_not_asked_for_the_body(web: WebProcess) -> None:
    whole = body([instance()])
    answers = []

    for token in (TOKEN, "0" * 16):
        with web.connect() as connection:
            connection.sendall(request_head(len(whole), Expect="100-continue", Authorization=f"Bearer {token}"))
            answers.append(connection.recv(1000)[:12])
            if answers[-1] == b"HTTP/1.1 100":
                connection.sendall(whole)
                answers.append(connection.recv(1000)[:12])

    assert answers == [b"HTTP/1.1 100", b"HTTP/1.1 200", b"HTTP/1.1 401"]


def test_a_part_of_another_type_is_another_failure_and_one_without_a_type_is_read(web: WebProcess) -> None:
    text, untyped = (
        part(b"{}", "application/json"),
        part(instance()).replace(b"Content-Type: application/dicom", b"A: 1"),
    )

    answer = httpx2.post(f"{web.url}/dicom-web/studies", content=text + untyped + b"--b--", headers=HEADERS)

    assert answer.status_code == 202
    assert [one.FailureReason for one in said(answer).OtherFailuresSequence] == [0x0110]


def test_the_token_counts_at_its_address_only(web: WebProcess) -> None:
    with web.connect("127.0.0.9") as connection:
        connection.sendall(request_head(0))

        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


def test_a_token_that_is_renewed_on_disk_counts_at_once(web: WebProcess) -> None:
    file = web.home / "token"
    file.write_text("fedcba9876543210")
    try:
        old = web.post([instance()]).status_code
        new = web.post([instance()], {"Authorization": "Bearer fedcba9876543210"}).status_code
    finally:
        file.write_text(TOKEN)

    assert (old, new) == (401, 200)


def test_our_own_sender_reads_the_answer(web: WebProcess, tmp_path: Path) -> None:
    dataset = instance()
    (path,) = write([dataset], tmp_path)
    service = Service(f"{web.url}/dicom-web", authorization_file=tmp_path / "secret")
    (tmp_path / "secret").write_text(f"Bearer {TOKEN}")

    first = stow.store(service, path, dataset.SOPInstanceUID)
    write([_changed(dataset, PatientID="ANOTHER")], tmp_path)
    second = stow.store(service, path, dataset.SOPInstanceUID)

    assert (first.word, second.word, second.reason) == ("stored", "failed", 0x0111)


def test_the_answer_is_xml_where_that_is_asked_for(web: WebProcess) -> None:
    answer = web.post([instance()], {"Accept": "application/dicom+xml"})

    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b"<NativeDicomModel" in answer.content


def test_the_station_says_that_it_lives_and_is_ready(web: WebProcess) -> None:
    assert httpx2.get(f"{web.url}/health").json() == {"status": "alive"}
    assert httpx2.get(f"{web.url}/ready").json() == {"status": "ready"}


def test_a_spool_that_cannot_be_written_is_not_ready(web: WebProcess) -> None:
    spool = web.home / "data" / "spool"
    spool.rename(web.home / "spool")
    spool.write_bytes(b"a file where the folder was")
    try:
        time.sleep(1.1)  # within a second the last answer holds
        answer = httpx2.get(f"{web.url}/ready")
    finally:
        spool.unlink()
        (web.home / "spool").rename(spool)

    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "why": "the spool cannot be written"})


@pytest.mark.parametrize("path", ["/", "/dicom-web/studies", "/dicom-web/studies/1.2/series", "/%2e%2e/etc/passwd"])
def test_nothing_can_be_fetched(web: WebProcess, path: str) -> None:
    answer = httpx2.get(web.url + path, headers=HEADERS)

    assert answer.status_code in (403, 404, 405)  # 403: a page, and nobody is a user yet
    assert "Traceback" not in answer.text


def test_a_node_that_cannot_write_is_not_ready_and_refuses(tmp_path: Path) -> None:
    process = WebProcess(tmp_path / "web").start()
    try:
        process.post([instance()])
        os.truncate(process.home / "data" / "reserve", 0)
        (process.home / "data" / "reserve").unlink()
        ready = httpx2.get(f"{process.url}/ready")
        answer = process.post([instance()])
    finally:
        process.stop()

    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("", "a section [web] of the configuration expected"),
        ("[web]\nport = {taken}", "choose a free port and address"),
        ('[web]\n[[web.peers]]\nae_title = "R"\ntoken_file = "none"', "16 characters or more expected"),
        ('[web]\n[web.tls]\ncertificate = "a"\nkey = "b"\nca = "c"', "web.tls: certificate, key and ca"),
    ],
)
def test_what_is_wrong_with_the_configuration_is_told_at_the_start(
    web: WebProcess, tmp_path: Path, toml: str, words: str
) -> None:
    (tmp_path / "node.toml").write_text(toml.format(taken=web.port))
    command = [sys.executable, "-m", "vb_node", "serve", "--config", str(tmp_path / "node.toml"), "--only", "web"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_was_answered_survives_each_kill_of_the_station(tmp_path: Path) -> None:
    process, random = WebProcess(tmp_path / "web"), Random(4)
    told: set[str] = set()
    try:
        for _ in range(KILLS):
            process.start()
            before = len(told)
            with ThreadPoolExecutor(2) as pool:
                sending = [pool.submit(_send_until_it_dies, process, told) for _ in range(2)]
                wait_until(lambda before=before: len(told) > before, ANSWERED_S, "something is answered")
                time.sleep(random.uniform(0.0, 0.6))
                process.process.send_signal(signal.SIGKILL)
                process.process.wait()
            for sent in sending:
                sent.result()
        process.start()
        wait_until(lambda: all(_is_kept(process, uid) for uid in told), ANSWERED_S, "the ledger holds all")
    finally:
        process.stop()


def _send_until_it_dies(process: WebProcess, told: set[str]) -> None:
    """Store instances, four a request; add those that were told to be stored."""
    with contextlib.suppress(httpx2.TransportError):
        while True:
            answer = process.post([instance() for _ in range(4)])
            told.update(str(one.ReferencedSOPInstanceUID) for one in said(answer).ReferencedSOPSequence)


def _is_kept(process: WebProcess, sop_instance_uid: str) -> bool:
    with process.database.read() as session:
        row = session.get(Instance, sop_instance_uid)
    spool = Spool(process.home / "data" / "spool")
    return row is not None and is_intact(spool.path_of(sop_instance_uid, row.sha256), row.sha256)


def test_a_cut_at_any_byte_leaves_only_whole_instances(web: WebProcess) -> None:
    dataset = instance()
    whole = body([dataset])
    before = web.files()

    for length in range(0, len(whole) - 4, 97):
        headers = HEADERS | {"Content-Length": str(length)}
        answer = httpx2.post(f"{web.url}/dicom-web/studies", content=whole[:length], headers=headers)
        assert answer.status_code in (400, 202)

    assert len(web.files() - before) <= 1


def test_a_real_study_of_megabytes_keeps_the_memory_flat(web: WebProcess) -> None:
    series = mr_series(head((12, 700, 700)), affine())
    web.post(series[:2])
    before = web.vitals().resident

    assert web.post(series).status_code == 200

    assert web.vitals().resident - before < 32 << 20
