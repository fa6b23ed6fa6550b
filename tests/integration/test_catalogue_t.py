"""Catalogue T of RELIABILITY.md, section 4: TLS on the listener, and the sender's side against DCMTK."""

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Authority, Certificate, self_signed
from factories import head, mr_series, write
from listener_process import ListenerProcess
from pdu import ASSOCIATE_AC, Raw, abort, associate_rq, echo_rq, reject
from processes import HOST, free_port, tool, wait_until

from vb_node.dimse import scu
from vb_node.dimse.tls import ClientTls, TlsFiles
from vb_node.errors import Later

HANDSHAKE_S, MARGIN_S = 5.0, 4.0
OTHER_HOSTS = [f"127.0.0.{number}" for number in range(2, 6)]


@pytest.fixture(scope="module")
def sender(authority: Authority) -> Certificate:
    return authority.issue("sender")


@pytest.fixture(scope="module")
def revoked(authority: Authority) -> Certificate:
    return authority.issue("revoked")


@pytest.fixture(scope="module")
def node(
    authority: Authority, sender: Certificate, revoked: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ListenerProcess]:
    """Give a listener that asks for certificates; CT1 is bound to the sender's."""
    own, crl = authority.issue("node"), authority.revoke(revoked)
    tls = f'[receive.tls]\ncertificate = "{own.pem}"\nkey = "{own.key}"\nca = "{authority.pem}"\ncrl = "{crl}"\n'
    peers = f'[[receive.peers]]\nae_title = "CT1"\ncertificate = "{sender.fingerprint}"\n'
    peers += f'[[receive.peers]]\nae_title = "CT2"\ncertificate = "{"0" * 64}"\n'
    process = ListenerProcess(tmp_path_factory.mktemp("listener"), tls, peers, _client(authority, sender)).start()
    process.warm_up()
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def _ends_alive(node: ListenerProcess) -> Iterator[None]:
    """Hold the listener against "alive" when the case is over."""
    before = node.vitals()
    yield
    node.check_alive(before)


def _client(authority: Authority, shown: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.pem))
    if shown is not None:
        context.load_cert_chain(shown.pem, shown.key)
    return context


def _echo(node: ListenerProcess, authority: Authority, shown: Certificate) -> int:
    with Raw(node.port).secure(_client(authority, shown)) as peer:
        peer.associate()
        return peer.send(echo_rq()).status()


def test_t_01_silent_clients_do_not_hold_up_a_good_one(
    node: ListenerProcess, authority: Authority, sender: Certificate
) -> None:
    with ExitStack() as stack:
        for number in range(20):
            stack.enter_context(Raw(node.port, OTHER_HOSTS[number % len(OTHER_HOSTS)]))
        begun = time.monotonic()

        status = _echo(node, authority, sender)

        assert status == 0
        assert time.monotonic() - begun < HANDSHAKE_S


def _old(context: ssl.SSLContext) -> None:
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def _weak(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")


@pytest.mark.parametrize("spoil", [_old, _weak], ids=["tls_1_1", "cbc_cipher"])
def test_t_02_what_is_old_or_weak_is_refused(
    node: ListenerProcess, authority: Authority, sender: Certificate, spoil: Callable[[ssl.SSLContext], None]
) -> None:
    context = _client(authority, sender)
    spoil(context)

    assert _is_refused(node, context)


@pytest.mark.parametrize("kind", ["none", "expired", "self_signed", "other_authority", "revoked"])
def test_t_02_who_shows_no_good_certificate_is_refused_and_told_of(
    node: ListenerProcess, authority: Authority, revoked: Certificate, tmp_path: Path, kind: str
) -> None:
    shown = {
        "none": lambda: None,
        "expired": lambda: authority.issue("expired", days=-1),
        "self_signed": lambda: self_signed(tmp_path),
        "other_authority": lambda: Authority(tmp_path, "other").issue("sender"),
        "revoked": lambda: revoked,
    }[kind]()
    told = len(_failures(node))

    assert _is_refused(node, _client(authority, shown))

    wait_until(lambda: len(_failures(node)) > told, MARGIN_S, "the audit trail tells of it")


def _failures(node: ListenerProcess) -> list[str]:
    whys = [event.details["why"] for event in node.events() if event.event == "association rejected"]
    return [why for why in whys if why.startswith("TLS handshake failed")]


def _is_refused(node: ListenerProcess, context: ssl.SSLContext) -> bool:
    """Say whether no association comes about; under TLS 1.3 a client learns it with the first byte it reads."""
    with Raw(node.port) as peer:
        peer.socket.settimeout(HANDSHAKE_S + MARGIN_S)
        try:
            peer.secure(context).associate()
        except (ssl.SSLError, ConnectionError):
            return True
    return False


def test_t_03_a_certificate_speaks_for_its_own_ae_title_only(
    node: ListenerProcess, authority: Authority, sender: Certificate
) -> None:
    with Raw(node.port).secure(_client(authority, sender)) as own:
        assert own.associate(calling=b"CT1")[0] == ASSOCIATE_AC
    with Raw(node.port).secure(_client(authority, sender)) as other:
        assert other.associate(calling=b"CT2") == reject(1, 1, 1)


def test_t_04_plain_dicom_on_the_tls_port_is_closed(node: ListenerProcess) -> None:
    with Raw(node.port) as peer:
        answer = peer.send(associate_rq()).ended(HANDSHAKE_S + MARGIN_S)

    assert answer[:1] in (b"", b"\x15")  # nothing, or a TLS alert


def test_t_04_tls_on_the_plain_port_is_closed(tmp_path: Path) -> None:
    plain = ListenerProcess(tmp_path).start()
    hello = ssl.MemoryBIO()
    speaker = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        speaker.do_handshake()

    with Raw(plain.port) as peer:
        answer = peer.send(hello.read()).ended(MARGIN_S)
    plain.stop()

    assert answer == abort(2, 1)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half_a_hello"])
def test_t_05_half_a_handshake_is_closed_in_five_seconds(node: ListenerProcess, sent: bytes) -> None:
    with Raw(node.port) as peer:
        peer.send(sent).ended(HANDSHAKE_S + MARGIN_S)


def test_t_05_renegotiation_is_refused(node: ListenerProcess, authority: Authority, sender: Certificate) -> None:
    command = ["openssl", "s_client", "-connect", f"{HOST}:{node.port}", "-tls1_2", "-CAfile", str(authority.pem)]
    command += ["-cert", str(sender.pem), "-key", str(sender.key)]

    asked = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=30, check=False)

    assert "RENEGOTIATING" in asked.stderr
    assert "no renegotiation" in asked.stderr


def test_t_06_a_renewed_certificate_serves_the_next_connection_and_old_ones_go_on(
    node: ListenerProcess, authority: Authority, sender: Certificate
) -> None:
    renewed = authority.issue("renewed")
    with Raw(node.port).secure(_client(authority, sender)) as old:
        old.associate()
        before = _shown(old.socket)
        (authority.home / "node.key").write_bytes(renewed.key.read_bytes())
        (authority.home / "node.pem").write_bytes(renewed.pem.read_bytes())
        with Raw(node.port).secure(_client(authority, sender)) as new:
            after = _shown(new.socket)
            new.associate()

            assert new.send(echo_rq()).status() == 0
        assert old.send(echo_rq()).status() == 0

    assert before != after
    assert after == ssl.PEM_cert_to_DER_cert(renewed.pem.read_text())


def _shown(connection: socket.socket) -> bytes | None:
    assert isinstance(connection, ssl.SSLSocket)
    return connection.getpeercert(binary_form=True)


def test_dcmtk_stores_by_tls(node: ListenerProcess, authority: Authority, sender: Certificate, tmp_path: Path) -> None:
    (path,) = write(mr_series(head((1, 16, 16))), tmp_path)
    secured = ["+tls", str(sender.key), str(sender.pem), "+cf", str(authority.pem)]

    sent = subprocess.run(
        [tool("storescu"), *secured, "-aet", "CT1", "-aec", "VBNODE", HOST, str(node.port), str(path)], check=False
    )

    assert sent.returncode == 0


def test_the_sender_stores_by_tls_and_only_where_the_certificate_fits(
    authority: Authority, sender: Certificate, tmp_path: Path
) -> None:
    (path,) = write(mr_series(head((1, 16, 16))), tmp_path / "sent")
    own, port, received = authority.issue("pacs"), free_port(), tmp_path / "received"
    received.mkdir()
    secured = ["+tls", str(own.key), str(own.pem), "+cf", str(authority.pem), "-od", str(received)]
    server = subprocess.Popen([tool("storescp"), *secured, "-aet", "PACS", str(port)])
    wait_until(lambda: _listens(port), 20, "storescp listens")
    ours = TlsFiles(sender.pem, sender.key, authority.pem)
    stranger = TlsFiles(sender.pem, sender.key, Authority(tmp_path / "stranger").pem)

    stored = scu.store(scu.Address("PACS", HOST, port, ClientTls(ours)), "NODE", path, lambda path, _: path)
    with pytest.raises(Later):
        scu.echo(scu.Address("PACS", HOST, port, ClientTls(stranger)), "NODE")
    with pytest.raises(Later):
        scu.echo(scu.Address("PACS", "localhost", port, ClientTls(ours)), "NODE")
    by_any_name = scu.Address("PACS", "localhost", port, ClientTls(ours, checks_host=False))
    scu.echo(by_any_name, "NODE")
    server.terminate()
    server.wait()

    assert stored == 0
    assert len(list(received.iterdir())) == 1


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
