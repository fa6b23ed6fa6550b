"""The site's OpenID provider, found by its discovery document; every exchange is bounded in time and size.

authlib writes and checks what the protocol says; ``exchange`` carries it, and follows no redirect, so code and secret
go where the document says and nowhere else.
"""

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from vb_node.config import OidcSettings
from vb_node.dicomweb.service import Answer, Service, exchange, trust
from vb_node.errors import ConfigError, Later, NoAnswer
from vb_node.openid import id_token
from vb_node.openid.attempt import Attempt
from vb_node.openid.id_token import Expected, NotLetIn, UnknownKey

DOCUMENT = "/.well-known/openid-configuration"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PATIENCE_S, LONGEST_S, MOST_BYTES = 5.0, 10.0, 1 << 20
FRESH_S, AWAY_S = 3600.0, 5.0
ERROR = re.compile(r"[a-z_]{1,40}")
ADDRESS = re.compile(r"https?://[^\s@#]{1,500}")
SIGNING = ("RSA", "EC", "OKP")


@dataclass(frozen=True)
class Metadata:
    """Where the provider answers to what (OpenID Connect Discovery 3), and how a client shows its secret."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    auth_method: str


class Provider:
    """Asks the provider; document and keys are kept for ``FRESH_S``, and one that is away is left alone for a while.

    Raises
    ------
    ConfigError
        The secret or the authorities cannot be read.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._tls = trust(settings.ca_file)
        self._lock = threading.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._away: tuple[float, Later] | None = None
        self._secret()

    def describe(self) -> Metadata:
        """Give the metadata; raise ``Later``, or ``ConfigError`` where they are not those of our provider."""
        with self._lock:
            if self._metadata is None or time.monotonic() - self._metadata[0] > FRESH_S:
                self._metadata = time.monotonic(), self._discover()
            return self._metadata[1]

    def probe(self) -> None:
        """Ask for document and keys; raise as ``describe``, and ``ConfigError`` for a provider without a usable key."""
        self.describe()
        if not self._key_set(0.0):
            raise ConfigError(f"{self._name}: public RSA, EC or OKP keys expected at its jwks_uri")

    def address(self, attempt: Attempt, redirect_uri: str) -> str:
        """Give the address that a browser goes to, to log in there; raise as ``describe``."""
        address: str = prepare_grant_uri(
            self.describe().authorization_endpoint,
            self.settings.client_id,
            "code",
            redirect_uri,
            ["openid", *self.settings.scopes],
            attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.code_verifier),
            code_challenge_method="S256",
        )
        return address

    def claims(self, code: str, attempt: Attempt, redirect_uri: str) -> dict[str, Any]:
        """Redeem a code for an ID token and check that; raise ``NotLetIn``, ``Later`` or ``ConfigError``."""
        token, access_token = self._redeem(code, attempt, redirect_uri)
        expected = Expected(self.settings.issuer, self.settings.client_id, attempt.nonce, access_token)
        try:
            return id_token.check(token, self._key_set(FRESH_S), expected)
        except UnknownKey:
            return id_token.check(token, self._key_set(0.0), expected)

    def _discover(self) -> Metadata:
        document = self._json(self.settings.issuer.rstrip("/") + DOCUMENT)
        if document.get("issuer") != self.settings.issuer:
            raise ConfigError(f"{self._name}: a document of the issuer {self.settings.issuer} expected: check issuer")
        offered = document.get("token_endpoint_auth_methods_supported")
        by_form = isinstance(offered, list) and "client_secret_basic" not in offered
        return Metadata(
            self._endpoint(document, "authorization_endpoint"),
            self._endpoint(document, "token_endpoint"),
            self._endpoint(document, "jwks_uri"),
            "client_secret_post" if by_form else "client_secret_basic",
        )

    def _endpoint(self, document: dict[str, Any], name: str) -> str:
        """Give an address that travels as safely as the issuer's: one by TLS sends nobody to plain HTTP (W-14)."""
        given = document.get(name)
        scheme = self.settings.issuer.partition(":")[0]
        is_safe = isinstance(given, str) and ADDRESS.fullmatch(given) and given.startswith(("https://", f"{scheme}://"))
        if not is_safe:
            raise ConfigError(f"{self._name}: an {scheme} address as {name} expected in its discovery document")
        return str(given)

    def _redeem(self, code: str, attempt: Attempt, redirect_uri: str) -> tuple[str, str]:
        """Give the ID token and the access token that its at_hash may speak of."""
        metadata = self.describe()
        form = {"code": code, "redirect_uri": redirect_uri, "code_verifier": attempt.code_verifier}
        body = prepare_token_request("authorization_code", "", **form)
        client = ClientAuth(self.settings.client_id, self._secret(), metadata.auth_method)
        url, headers, body = client.prepare("POST", metadata.token_endpoint, {"Content-Type": FORM}, body)
        answer = self._ask(url, headers, body.encode())
        said = _object(answer)
        if 400 <= answer.status < 500:
            error = str(said.get("error", ""))
            why = error if ERROR.fullmatch(error) else f"status {answer.status}"
            raise NotLetIn(f"{self._name} gives no token for the code: {why}")
        token, access_token = said.get("id_token"), said.get("access_token")
        if answer.status != 200 or not isinstance(token, str) or not isinstance(access_token, str):
            raise NoAnswer(f"{self._name} answered {answer.status} without the tokens that are expected")
        return token, access_token

    def _key_set(self, fresh_s: float) -> KeySet:
        """Give the keys by which the provider signs, not older than ``fresh_s``."""
        with self._lock:
            if self._keys is not None and time.monotonic() - self._keys[0] <= fresh_s:
                return self._keys[1]
        given = self._json(self.describe().jwks_uri).get("keys")
        keys = KeySet([key for one in given if (key := _key(one))] if isinstance(given, list) else [])
        with self._lock:
            self._keys = time.monotonic(), keys
        return keys

    def _json(self, url: str) -> dict[str, Any]:
        """Get a JSON object; who was away a moment ago is not asked again so soon."""
        if self._away is not None and time.monotonic() - self._away[0] < AWAY_S:
            raise self._away[1]
        try:
            answer = self._ask(url, {})
            if answer.status != 200:
                raise NoAnswer(f"{self._name} answered {answer.status}, expected 200 with JSON")
        except Later as error:
            self._away = time.monotonic(), error
            raise
        return _object(answer)

    def _ask(self, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        service = Service(url, {"Accept": JSON}, tls=self._tls, connect_s=PATIENCE_S, answer_s=PATIENCE_S)
        content, method = (None, "GET") if body is None else (iter((body,)), "POST")
        length = {} if body is None else {"Content-Length": str(len(body))}
        path = "/" if url.endswith("/") else ""
        return exchange(
            service, method, path, longest_s=LONGEST_S, headers=headers | length, content=content, most_bytes=MOST_BYTES
        )

    def _secret(self) -> str:
        file = self.settings.client_secret_file
        try:
            secret = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"web.oidc.client_secret_file {file}: a readable file in ASCII expected") from error
        if not secret:
            raise ConfigError(f"web.oidc.client_secret_file {file}: the secret of the client expected, it is empty")
        return secret

    @property
    def _name(self) -> str:
        return f"the OpenID provider {self.settings.issuer}"


def _object(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _key(given: Any) -> Any:
    """Read a public key that signs; None for one of another use or kind, as RFC 7517 5 asks."""
    if not isinstance(given, dict) or given.get("kty") not in SIGNING or given.get("use", "sig") != "sig":
        return None
    try:
        return import_key(given)
    except (JoseError, ValueError, TypeError):
        return None
