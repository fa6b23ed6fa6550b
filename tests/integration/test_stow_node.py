"""A running node that takes studies by STOW-RS: from Orthanc, over TLS, and half by each door."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from certificates import Authority
from factories import affine, head, mr_series, write
from listener_process import instance
from processes import TOML, Node, Orthanc, free_port, is_ready, storescu, wait_until
from pydicom import Dataset
from pydicom.uid import generate_uid
from web_process import HEADERS, TOKEN, WebProcess, body

SLICES = 20
SETTLE_S, CLOSED_S = 3, 40.0
WEB = """
[web]
port = {port}

[[web.peers]]
ae_title = "ROUTER"
token_file = "token"
"""


@pytest.fixture
def study() -> str:
    return str(generate_uid())


def _datasets(study: str) -> list[Dataset]:
    told = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd", "StudyInstanceUID": study}
    return mr_series(head((SLICES, 40, 40)), affine((3.0, 2.0, 2.0)), **told)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """Give a node whose quiet time no test waits for, and where it takes instances by HTTP."""
    home, port, web_port = tmp_path_factory.mktemp("node"), free_port(), free_port()
    toml = TOML.format(port=port, pacs_port=free_port(), quiet_s=f"120\nsettle_s = {SETTLE_S}")
    (home / "token").write_text(TOKEN)
    node, url = Node(home, toml + WEB.format(port=web_port), port), f"http://127.0.0.1:{web_port}"
    node.start()
    wait_until(lambda: is_ready(url), 30, "the web station is ready")
    yield node, url
    node.stop()


def _closed_by(node: Node, study: str) -> list[str]:
    """Wait until a study has made a job of all its slices; give the words of what closed it."""
    wait_until(lambda: bool(node.events(event="job scheduled", study_instance_uid=study)), CLOSED_S, "a job is made")
    inputs = [len(job.inputs) for job in node.jobs() if job.study_instance_uid == study]
    assert inputs == [SLICES]
    return [event.details["evidence"] for event in node.events(event="series closed", study_instance_uid=study)]


def test_one_request_with_a_study_makes_one_job(house: tuple[Node, str], study: str) -> None:
    node, url = house

    answer = httpx2.post(f"{url}/dicom-web/studies", content=body(_datasets(study)), headers=HEADERS, timeout=30)

    assert answer.status_code == 200
    assert _closed_by(node, study) == [f"released by ROUTER, unbroken geometry, quiet for {SETTLE_S} s"]


def test_half_by_each_door_makes_one_job(house: tuple[Node, str], study: str, tmp_path: Path) -> None:
    node, url = house
    datasets = _datasets(study)

    storescu(node, write(datasets[:9], tmp_path))
    httpx2.post(f"{url}/dicom-web/studies/{study}", content=body(datasets[9:]), headers=HEADERS, timeout=30)

    (words,) = _closed_by(node, study)
    assert words.endswith(f"unbroken geometry, quiet for {SETTLE_S} s")


def test_orthanc_stores_a_study_by_stow(house: tuple[Node, str], study: str, orthanc: Orthanc) -> None:
    node, url = house
    for dataset in _datasets(study):
        httpx2.post(f"{orthanc.url}/instances", content=_file(dataset)).raise_for_status()
    server = {"Url": f"{url}/dicom-web", "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"}}
    orthanc.put("/dicom-web/servers/node", server)

    ids = json.loads(orthanc.get("/studies"))
    sent = httpx2.post(f"{orthanc.url}/dicom-web/servers/node/stow", json={"Resources": ids}, timeout=60)

    assert sent.status_code == 200
    assert _closed_by(node, study) == [f"released by ROUTER, unbroken geometry, quiet for {SETTLE_S} s"]


def _file(dataset: Dataset) -> bytes:
    return body([dataset]).split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n--b--\r\n")


def test_a_killed_web_station_is_started_again(house: tuple[Node, str]) -> None:
    node, url = house

    node.kill_station("web")

    wait_until(lambda: is_ready(url), 30, "the web station is ready again")


def test_a_peer_is_known_by_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    own, bound, other = (authority.issue(name) for name in ("node", "bound", "other"))
    tls = f'[web.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nca = "{authority.pem}"\n'
    peer = f'[[web.peers]]\nae_title = "BOUND"\ncertificate = "{bound.fingerprint}"\n'
    contexts = []
    for shown in (bound, other, None):
        context = ssl.create_default_context(cafile=str(authority.pem))
        if shown is not None:
            context.load_cert_chain(shown.pem, shown.key)
        contexts.append(context)
    process = WebProcess(tmp_path / "web", tls + peer, "https").start()
    try:
        by_certificate = [_status(process, context, token=False) for context in contexts]
        by_token = [_status(process, context, token=True) for context in contexts]
        wait_until(lambda: len(process.events(event="instance received")) == 3, 10, "the ledger holds what came")
        peers = sorted(str(event.peer) for event in process.events(event="instance received"))
    finally:
        process.stop()

    assert by_certificate == [200, 401, None]
    assert by_token == [200, 200, None]
    assert peers == ["BOUND", "BOUND", "ROUTER"]


def _status(process: WebProcess, context: ssl.SSLContext, *, token: bool) -> int | None:
    """Store one instance; give the status, None where there was no handshake."""
    headers = HEADERS if token else {"Content-Type": HEADERS["Content-Type"]}
    url = f"{process.url}/dicom-web/studies"
    try:
        return httpx2.post(url, content=body([instance()]), headers=headers, verify=context).status_code
    except httpx2.TransportError:
        return None


def test_a_certificate_that_is_renewed_serves_the_next_connection(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    first, second = old.issue("node"), new.issue("node")
    pem, key = tmp_path / "node.pem", tmp_path / "node.key"
    _put(pem, first.pem)
    _put(key, first.key)
    tls = f'[web.tls]\ncertificate = "{pem}"\nkey = "{key}"\nrequire_peer = false\n'
    process = WebProcess(tmp_path / "web", tls, "https").start()
    try:
        before = _trusts(process, old)
        _put(key, second.key)
        _put(pem, second.pem)
        after = _trusts(process, old), _trusts(process, new)
    finally:
        process.stop()

    assert before
    assert after == (False, True)


def _put(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def _trusts(process: WebProcess, authority: Authority) -> bool:
    try:
        context = ssl.create_default_context(cafile=str(authority.pem))
        return httpx2.get(f"{process.url}/health", verify=context).status_code == 200
    except httpx2.ConnectError:
        return False


def test_a_silent_tls_client_holds_up_nobody_and_is_gone_in_time(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    own = authority.issue("node")
    tls = f'[web.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nrequire_peer = false\n'
    process = WebProcess(tmp_path / "web", tls, "https").start()
    try:
        with process.connect() as silent:
            assert _trusts(process, authority)
            silent.settimeout(15)
            assert silent.recv(1) == b""
    finally:
        process.stop()
