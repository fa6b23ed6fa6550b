"""What the node takes from a provider, and from one that is not what it should be (RELIABILITY W-14)."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http_peer import Peer, http_peer
from openid_provider import new_key
from processes import HOST, free_port

from vb_node import config, doctor
from vb_node.config import OidcSettings
from vb_node.errors import ConfigError, NoAnswer, Unreachable
from vb_node.openid.attempt import Attempt
from vb_node.openid.id_token import NotLetIn
from vb_node.openid.provider import Provider

KEYS = {"keys": [new_key("one").as_dict(private=False)]}
Said = dict[str, Any]


@pytest.fixture(scope="module")
def peer(authority: Authority) -> Iterator[Peer]:
    shown = authority.issue("provider")
    with http_peer(shown.pem, shown.key) as made:
        yield made


@pytest.fixture
def settings(peer: Peer, authority: Authority, tmp_path: Path) -> OidcSettings:
    peer.status, peer.headers, peer.repeats = 200, {}, 1
    peer.came.clear()
    return _settings(tmp_path, f"https://127.0.0.1:{peer.port}", authority.pem)


def _settings(home: Path, issuer: str, ca_file: Path | None = None) -> OidcSettings:
    (home / "secret").write_text("open sesame\n")
    words = {"client_id": "node", "role_claim": "groups", "roles": {"a": "admin"}, "ca_file": ca_file}
    return OidcSettings(issuer=issuer, client_secret_file=home / "secret", **words)


def _document(settings: OidcSettings, **changed: Any) -> Said:
    paths = {name: f"{settings.issuer}/{name}/" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    return {"issuer": settings.issuer} | paths | changed


def _provider(settings: OidcSettings, peer: Peer, said: object) -> Provider:
    peer.body = json.dumps(said).encode()
    return Provider(settings)


@pytest.mark.parametrize(
    ("offered", "by_form"), [(None, False), (["client_secret_basic", "none"], False), (["client_secret_post"], True)]
)
def test_the_secret_goes_to_the_token_endpoint_by_tls_and_nowhere_else(
    settings: OidcSettings, peer: Peer, offered: list[str] | None, by_form: bool
) -> None:
    provider = _provider(settings, peer, _document(settings, token_endpoint_auth_methods_supported=offered))
    provider.describe()
    peer.body, peer.status = b'{"error": "invalid_grant"}', 400

    with pytest.raises(NotLetIn, match="invalid_grant"):
        provider.claims("code", Attempt("s"), "https://node.example/login/openid/back")

    (_, discovery, *_), (method, path, headers, body) = peer.came
    assert discovery == "/.well-known/openid-configuration"
    assert (method, path) == ("POST", "/token_endpoint/")
    assert ("Authorization" in headers) is not by_form
    assert (b"client_secret=open+sesame" in body) is by_form
    assert f"code_verifier={Attempt('s').code_verifier}".encode() in body


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"}, {"issuer": None}, {"token_endpoint": "http://127.0.0.1/token"},
        {"jwks_uri": "http://169.254.169.254/latest"}, {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://us er@evil.example/"}, {"jwks_uri": None}, {"jwks_uri": ["https://a"]},
    ],
    ids=str,
)  # fmt: skip
def test_w_14_a_document_that_leads_elsewhere_is_refused(settings: OidcSettings, peer: Peer, changed: Said) -> None:
    provider = _provider(settings, peer, _document(settings, **changed))

    with pytest.raises(ConfigError, match="the OpenID provider"):
        provider.describe()


def test_w_14_no_redirect_is_followed(settings: OidcSettings, peer: Peer) -> None:
    provider = _provider(settings, peer, _document(settings))
    provider.describe()
    peer.status, peer.headers = 307, {"Location": f"{settings.issuer}/elsewhere"}

    with pytest.raises(NoAnswer, match="307"):
        provider.claims("code", Attempt("s"), "https://node.example/login/openid/back")

    assert [path for _, path, *_ in peer.came] == ["/.well-known/openid-configuration", "/token_endpoint/"]


def test_a_provider_with_another_certificate_is_told_nothing(peer: Peer, settings: OidcSettings) -> None:
    provider = _provider(settings.model_copy(update={"ca_file": None}), peer, _document(settings))

    with pytest.raises(Unreachable, match="certificate"):
        provider.describe()

    assert peer.came == []


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"{}", b"\xff", b""])
def test_what_is_no_document_is_refused(settings: OidcSettings, peer: Peer, said: bytes) -> None:
    provider = _provider(settings, peer, None)
    peer.body = said

    with pytest.raises(ConfigError):
        provider.describe()


def test_an_answer_without_end_is_cut_off(settings: OidcSettings, peer: Peer) -> None:
    provider = _provider(settings, peer, "x" * 1000)
    peer.repeats = 2000

    with pytest.raises(NoAnswer, match="more than 1 MB"):
        provider.describe()


def test_one_that_is_away_is_not_asked_again_at_once(tmp_path: Path) -> None:
    port = free_port()
    provider = Provider(_settings(tmp_path, f"http://127.0.0.1:{port}"))
    with pytest.raises(Unreachable):
        provider.describe()

    with socket.create_server((HOST, port)) as back_again:
        with pytest.raises(Unreachable):
            provider.describe()
        back_again.settimeout(0.2)
        with pytest.raises(TimeoutError):
            back_again.accept()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["missing", "empty", "not ASCII"])
def test_a_secret_that_cannot_be_read_is_told_before_anything_begins(tmp_path: Path, content: bytes | None) -> None:
    settings = _settings(tmp_path, "https://login.example")
    settings.client_secret_file.unlink()
    if content is not None:
        settings.client_secret_file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"web\.oidc\.client_secret_file"):
        Provider(settings)


def test_plain_http_is_for_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https address expected"):
        _settings(tmp_path, "http://login.example")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (KEYS, doctor.GOOD),
        ({"keys": []}, doctor.WRONG),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "new"}, {"kty": "EC"}, 7]}, doctor.WRONG),
        ({"issuer": "https://evil.example"}, doctor.WRONG),
        (None, doctor.DOUBTFUL),
    ],
)
def test_the_doctor_asks_for_document_and_keys(
    settings: OidcSettings, peer: Peer, tmp_path: Path, said: Said | None, state: str
) -> None:
    peer.body = json.dumps(_document(settings) | (said or {})).encode()
    peer.status = 503 if said is None else 200

    found = doctor.examine_configuration(
        config.build({"node": {"data": str(tmp_path)}, "web": {"oidc": settings.model_dump(mode="json")}})
    )

    assert [one.state for one in found if one.about == "OpenID provider"] == [state]
