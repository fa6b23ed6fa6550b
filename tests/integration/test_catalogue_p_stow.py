"""Catalogue P-08: results by STOW-RS, against Orthanc and a real HTTP server with odd answers."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority, Certificate
from http_peer import Peer, dribbling, http_peer
from outbox import BEGIN, Outbox, drain
from processes import HOST, Orthanc, free_port, tool

from vb_node.config import build
from vb_node.dimse import query
from vb_node.errors import ConfigError

JSON = {"Content-Type": "application/dicom+json"}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with http_peer() as peer:
        yield peer


def _said(uid: str, sequence: str = "00081199", **reasons: int) -> bytes:
    item: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
    item |= {tag.removeprefix("t"): {"vr": "US", "Value": [reason]} for tag, reason in reasons.items()}
    return json.dumps({sequence: {"vr": "SQ", "Value": [item]}}).encode()


def _send(outbox: Outbox, peer: Peer, now: float = BEGIN, **settings: object) -> None:
    drain(outbox.deliverer(kind="stow", url=peer.url, **settings), now)


def test_p_08_orthanc_stores_the_results_byte_for_byte(outbox: Outbox, tmp_path: Path) -> None:
    uids = outbox.finish_job("pacs")
    orthanc = Orthanc(tmp_path / "orthanc", free_port(), free_port())
    orthanc.start()
    try:
        drain(outbox.deliverer(kind="stow", url=f"{orthanc.url}/dicom-web", timeout_s=10.0), BEGIN)
        kept = {orthanc.get(f"/instances/{one}/file") for one in json.loads(orthanc.get("/instances"))}
    finally:
        orthanc.stop()

    assert outbox.states() == ["sent", "sent"]
    assert kept == {(outbox.results / f"{uid}.dcm").read_bytes() for uid in uids}


def test_p_08_orthanc_is_asked_by_qido_what_it_holds(outbox: Outbox, tmp_path: Path) -> None:
    uids = outbox.finish_job("pacs")
    orthanc = Orthanc(tmp_path / "orthanc", free_port(), free_port())
    orthanc.start()
    try:
        deliverer = outbox.deliverer(kind="stow", url=f"{orthanc.url}/dicom-web", timeout_s=10.0)
        deliverer.step(BEGIN)
        wanted = [query.Wanted("1.2", f"1.2.3.1.{rank}", uid) for rank, uid in enumerate(uids)]
        found = [deliverer.destination.holds(one) for one in wanted]
        deliverer.destination.probe()
    finally:
        orthanc.stop()

    assert found == [True, False]


def test_p_08_the_request_is_one_part_of_application_dicom(outbox: Outbox, peer: Peer, tmp_path: Path) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    (tmp_path / "secret").write_text("Bearer abc\n")
    peer.headers, peer.body = JSON, _said(uid)

    _send(outbox, peer, authorization_file=tmp_path / "secret", headers={"X-Site": "7"})

    ((method, path, headers, body),) = peer.came
    assert (method, path, headers["Authorization"], headers["X-Site"]) == (
        "POST",
        "/dicom-web/studies",
        "Bearer abc",
        "7",
    )
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert (outbox.results / f"{uid}.dcm").read_bytes() in body
    assert outbox.states() == ["sent"]


@pytest.mark.parametrize(
    ("status", "sequence", "reasons", "state", "shown"),
    [
        (200, "00081199", {}, "sent", 0x0000),
        (202, "00081199", {"t00081196": 0xB000}, "sent", 0xB000),
        (202, "00081198", {"t00081197": 0xA700}, "retry", 0xA700),
        (200, "00081198", {"t00081197": 0x0122}, "retry", 0x0122),
        (409, "00081198", {"t00081197": 0x0111}, "parked", 0x0111),
        (409, "00081198", {}, "retry", None),
    ],
)
def test_p_08_the_answer_is_read_for_each_instance(
    outbox: Outbox, peer: Peer, status: int, sequence: str, reasons: dict[str, int], state: str, shown: int | None
) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    peer.status, peer.headers, peer.body = status, JSON, _said(uid, sequence, **reasons)

    _send(outbox, peer)

    (delivery,) = outbox.deliveries()
    assert (delivery.state, delivery.status) == (state, shown)


@pytest.mark.parametrize(
    ("status", "tries", "state", "words"),
    [
        (400, 3, "parked", "HTTP 400"),
        (404, 3, "parked", "check the url"),
        (409, 3, "parked", "HTTP 409"),
        (413, 1, "parked", "of this size"),
        (429, 1, "retry", "HTTP 429"),
        (500, 3, "retry", "HTTP 500"),
        (503, 3, "retry", "HTTP 503"),
        (301, 3, "parked", "redirect"),
    ],
)
def test_p_08_each_http_status_has_its_way(
    outbox: Outbox, peer: Peer, status: int, tries: int, state: str, words: str
) -> None:
    outbox.finish_job("pacs", pair=False)
    peer.status = status

    for hour in range(tries):
        _send(outbox, peer, BEGIN + 3601 * hour)

    (delivery,) = outbox.deliveries()
    assert (delivery.state, len(peer.came)) == (state, tries)
    assert words in (delivery.detail or "")


@pytest.mark.parametrize("status", [401, 403])
def test_p_08_refused_credentials_are_an_outage_that_ends_when_they_are_mended(
    outbox: Outbox, peer: Peer, status: int
) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    peer.status = status
    _send(outbox, peer)
    was = outbox.states(), len(outbox.events("destination down"))
    peer.status, peer.headers, peer.body = 200, JSON, _said(uid)
    _send(outbox, peer, BEGIN + 70)

    assert was == (["retry"], 1)
    assert outbox.states() == ["sent"]


def test_p_08_retry_after_is_honoured(outbox: Outbox, peer: Peer) -> None:
    outbox.finish_job("pacs", pair=False)
    peer.status, peer.headers = 503, {"Retry-After": "900"}

    _send(outbox, peer)

    (delivery,) = outbox.deliveries()
    assert 890 < delivery.due_at - BEGIN < 920


@pytest.mark.parametrize(
    ("headers", "body", "says_length"),
    [
        (JSON, b'{"00081199": {"vr": "SQ", "Va', None),
        (JSON, b'{"00081199": {', 4000),
        (JSON, b"[]", None),
        (JSON, b'{"00081199": {"vr": "SQ", "Value": 7}}', None),
        ({"Content-Type": "text/html"}, b"<html>please log in</html>", None),
        ({}, b"", None),
    ],
)
def test_p_08_success_without_proof_is_not_believed(
    outbox: Outbox, peer: Peer, headers: dict[str, str], body: bytes, says_length: int | None
) -> None:
    outbox.finish_job("pacs", pair=False)
    peer.headers, peer.body, peer.says_length = headers, body, says_length

    _send(outbox, peer)

    (delivery,) = outbox.deliveries()
    assert (delivery.state, delivery.is_unsure) == ("retry", True)


def test_p_08_a_chunked_answer_is_read(outbox: Outbox, peer: Peer) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    said = _said(uid)
    peer.headers = {**JSON, "Transfer-Encoding": "chunked", "Content-Length": ""}
    peer.body = f"{len(said):x}\r\n".encode() + said + b"\r\n0\r\n\r\n"

    _send(outbox, peer)

    assert outbox.states() == ["sent"]


def test_p_08_an_answer_without_end_is_left_at_ten_megabytes(outbox: Outbox, peer: Peer) -> None:
    outbox.finish_job("pacs", pair=False)
    peer.headers, peer.body, peer.repeats = JSON, b" " * (1 << 20), 10_000

    _send(outbox, peer)

    (delivery,) = outbox.deliveries()
    assert (delivery.state, "more than 10 MB" in (delivery.detail or "")) == ("retry", True)


def test_p_08_no_secret_goes_to_another_host(outbox: Outbox, peer: Peer, tmp_path: Path) -> None:
    outbox.finish_job("pacs", pair=False)
    (tmp_path / "secret").write_text("Bearer abc")
    with http_peer() as other:
        peer.status, peer.headers = 307, {"Location": f"{other.url}/studies"}
        _send(outbox, peer, authorization_file=tmp_path / "secret")

    assert other.came == []


def test_p_08_a_certificate_that_is_not_trusted_is_an_outage(outbox: Outbox, tmp_path: Path) -> None:
    outbox.finish_job("pacs", pair=False)
    certificate, key = tmp_path / "peer.pem", tmp_path / "peer.key"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([tool("openssl"), "req", *options, *names], check=True, capture_output=True)
    with http_peer(certificate, key) as peer:
        url = peer.url.replace("http:", "https:")
        drain(outbox.deliverer(kind="stow", url=url), BEGIN)
        was = len(peer.came), outbox.states()
        peer.headers, peer.body = JSON, _said(outbox.deliveries()[0].sop_instance_uid)
        drain(outbox.deliverer(kind="stow", url=url, ca_file=certificate), BEGIN + 70)

    assert was == (0, ["retry"])
    assert outbox.states() == ["sent"]


def test_p_08_a_service_that_asks_who_we_are_is_shown_our_certificate(outbox: Outbox, tmp_path: Path) -> None:
    (uid,) = outbox.finish_job("pacs", pair=False)
    authority = Authority(tmp_path / "ca")
    service, own = authority.issue("service"), authority.issue("own")
    with http_peer(service.pem, service.key, clients=authority.pem) as peer:
        peer.headers, peer.body = dict(JSON), _said(uid)
        to = {"kind": "stow", "url": peer.url.replace("http:", "https:"), "timeout_s": 3.0}
        drain(outbox.deliverer(**to, ca_file=authority.pem), BEGIN)
        without = outbox.states(), len(peer.came)
        expired = authority.issue("expired", days=-1)
        shown = tmp_path / "shown.pem", tmp_path / "shown.key"
        tls = {"ca": authority.pem, "certificate": shown[0], "key": shown[1]}
        _show(expired, *shown)
        deliverer, seen = outbox.deliverer(**to, tls=tls), []
        for now, certificate in ((BEGIN + 3600, expired), (BEGIN + 7200, own)):
            _show(certificate, *shown)
            drain(deliverer, now)
            seen += outbox.states()

    assert without == (["retry"], 0)
    assert seen == ["retry", "sent"]


def _show(certificate: Certificate, pem: Path, key: Path) -> None:
    pem.write_bytes(certificate.pem.read_bytes())
    key.write_bytes(certificate.key.read_bytes())


@pytest.mark.parametrize(
    "words",
    [
        {"kind": "folder", "folder": "out"},
        {"kind": "stow", "url": "http://pacs.example"},
        {"kind": "stow", "url": "https://pacs.example", "ca_file": "ca.pem"},
    ],
    ids=str,
)
def test_tls_that_would_change_nothing_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="tls"):
        build({"destinations": [{"name": "pacs", "tls": {"ca": "ca.pem"}, **words}]})


def test_p_08_a_peer_that_dribbles_is_cut_off(outbox: Outbox) -> None:
    """Each byte starts the client's read timeout anew: only the whole counts."""
    outbox.finish_job("pacs", pair=False)
    with dribbling() as port:
        begun = time.monotonic()
        drain(outbox.deliverer(kind="stow", url=f"http://{HOST}:{port}", timeout_s=1.0), BEGIN)

    assert outbox.states() == ["retry"]
    assert time.monotonic() - begun < 20


def test_a_ca_file_that_cannot_be_read_is_a_matter_of_configuration(outbox: Outbox, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        outbox.deliverer(kind="stow", url="https://pacs.example/dicom-web", ca_file=tmp_path / "none.pem")


def test_a_url_with_a_password_in_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="url"):
        build({"destinations": [{"name": "pacs", "kind": "stow", "url": "https://me:secret@pacs.example"}]})
