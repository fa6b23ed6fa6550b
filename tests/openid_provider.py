"""A real OpenID provider on loopback, oidc-provider-mock, whose ID tokens a test may have made otherwise.

The provider takes the flow: client, redirect_uri, code, nonce. Around it stands what it lacks: PKCE is enforced
(RFC 7636), and ID tokens are signed by keys with an id, which a test may exchange.
"""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import oidc_provider_mock
from joserfc import jwk, jwt
from werkzeug.serving import make_server

STYLES = re.compile(rb"<link[^>]*>")
Claims = dict[str, Any]
Sign = Callable[[Claims], str]


def new_key(kid: str) -> jwk.ECKey:
    return jwk.ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def signed(claims: Claims, key: jwk.ECKey) -> str:
    """Sign claims by a key."""
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)


def unsigned(claims: Claims) -> str:
    """Write claims as a token of alg "none" (RFC 7515 A.5)."""
    return _written({"alg": "none"}, claims) + "."


def keyed(claims: Claims, secret: bytes) -> str:
    """Sign claims by a word that both sides know, or that everybody knows (RFC 7515 A.1)."""
    words = _written({"alg": "HS256", "kid": "first"}, claims)
    return f"{words}.{_encoded(hmac.digest(secret, words.encode(), 'sha256'))}"


def _written(*parts: Claims) -> str:
    return ".".join(_encoded(json.dumps(part).encode()) for part in parts)


def _encoded(words: bytes) -> str:
    return urlsafe_b64encode(words).decode().rstrip("=")


@dataclass
class OpenIdProvider:
    """Where it is, how it knows the node, and what it does to the next ID tokens."""

    issuer: str
    client_id: str = ""
    client_secret: str = ""
    key: jwk.ECKey = field(default_factory=lambda: new_key("first"))
    changed: Claims = field(default_factory=dict)
    sign: Sign | None = None
    challenges: dict[str, str] = field(default_factory=dict)

    def register(self, redirect_uri: str) -> None:
        """Register a client (RFC 7591)."""
        given = httpx2.post(f"{self.issuer}/oauth2/clients", json={"redirect_uris": [redirect_uri]}).json()
        self.client_id, self.client_secret = given["client_id"], given["client_secret"]

    def add(self, subject: str, **claims: object) -> None:
        """Add a person, or change what the provider says of one."""
        httpx2.put(f"{self.issuer}/users/{subject}", json=claims).raise_for_status()

    def reset(self) -> None:
        self.changed, self.sign = {}, None

    def token(self, given: str) -> str:
        """Make the ID token anew: with a kid, and with what the test changed; None leaves a claim out."""
        claims = json.loads(_decoded(given.split(".")[1])) | self.changed
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed(claims, self.key) if self.sign is None else self.sign(claims)


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


class _Around:
    """The provider as WSGI, with PKCE and keys of ours."""

    def __init__(self, app: Any, provider: OpenIdProvider) -> None:
        self._app, self._provider = app, provider

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        answer: list[Any] = []
        if environ["PATH_INFO"] == "/jwks":
            return _say(start, "200 OK", {"keys": [self._provider.key.as_dict(private=False)]})
        if environ["PATH_INFO"] == "/oauth2/token" and not self._is_who_began(environ):
            return _say(start, "400 Bad Request", {"error": "invalid_grant"})
        body = b"".join(self._app(environ, lambda *words: answer.extend(words)))
        status, headers = answer[0], dict(answer[1])
        if environ["PATH_INFO"] == "/oauth2/authorize" and status.startswith("302"):
            self._remember(environ, headers["Location"])
        if environ["PATH_INFO"] == "/oauth2/token" and status.startswith("200"):
            said = json.loads(body)
            return _say(start, status, said | {"id_token": self._provider.token(said["id_token"])})
        body = STYLES.sub(b"", body)  # they come from the Internet
        start(status, [*(headers | {"Content-Length": str(len(body))}).items()])
        return [body]

    def _remember(self, environ: dict[str, Any], location: str) -> None:
        asked, answered = parse_qs(environ["QUERY_STRING"]), parse_qs(urlsplit(location).query)
        if "code" in answered:
            assert asked["code_challenge_method"] == ["S256"]
            self._provider.challenges[answered["code"][0]] = asked["code_challenge"][0]

    def _is_who_began(self, environ: dict[str, Any]) -> bool:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = BytesIO(body)
        form = parse_qs(body.decode())
        made = _encoded(sha256(form["code_verifier"][0].encode()).digest())
        return self._provider.challenges.get(form["code"][0]) == made


def _say(start: Any, status: str, said: object) -> list[bytes]:
    body = json.dumps(said).encode()
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def openid_provider(port: int) -> Iterator[OpenIdProvider]:
    """Serve on loopback, to clients that are registered."""
    provider = OpenIdProvider(f"http://localhost:{port}")
    app = oidc_provider_mock.app(require_client_registration=True, require_nonce=True)
    server = make_server("localhost", port, _Around(app, provider), threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
