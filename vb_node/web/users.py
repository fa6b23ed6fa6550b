"""Who asks, and what they may: the one seam between a request and a user (SECURITY 2.2, RELIABILITY W-13).

A browser shows the secret of a session in a cookie, a program a token as ``Authorization: Bearer``. The ledger holds
only their digests, so a logout ends a session at once and a stolen ledger opens none. Handlers that call ``current``
are plain functions: it asks the ledger.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request

from storage import audit, schema, users
from storage.database import Database

Action = Literal["see", "operate", "audit", "administer"]
MAY: dict[str, frozenset[Action]] = {
    "viewer": frozenset({"see"}),
    "operator": frozenset({"see", "operate"}),
    "auditor": frozenset({"see", "audit"}),
    "admin": frozenset({"see", "operate", "audit", "administer"}),
}
FIRST = "nobody may use this yet. Add the first user on the node's machine: vb-node users add NAME --role admin"
LONGEST_SECRET = 200


@dataclass(frozen=True)
class User:
    """Who is logged in."""

    name: str
    role: str

    def may(self, action: Action) -> bool:
        """Say whether the role allows: see jobs, operate on them, read the audit trail, administer."""
        return action in MAY[self.role]


def current(request: Request, action: Action = "see") -> User:
    """Give the user of a request who may do this.

    Raises
    ------
    HTTPException
        303 to the login page for a person who is not logged in, 401 for a program, 403 for one who may not.
    """
    database: Database = request.app.state.database
    with database.read() as session:
        found = _find(session, request)
        if found is None and not users.is_any(session) and not _has_provider(request):
            raise HTTPException(403, FIRST)
    if found is None:
        raise _unknown(request)
    user = User(found.name, found.role)
    if not user.may(action):
        _tell_refusal(database, user, request)
        raise HTTPException(403, f"a user who may {action} expected; {user.name} is {user.role}")
    return user


def known(request: Request) -> User | None:
    """Give the user of a request, None for a stranger."""
    database: Database = request.app.state.database
    with database.read() as session:
        found = _find(session, request)
    return None if found is None else User(found.name, found.role)


def csrf_token(request: Request) -> str:
    """Give what each form of this session carries as ``csrf_token``, or ``X-CSRF-Token``; empty for a stranger."""
    secret = cookie_of(request)
    return csrf_of(secret) if secret else ""


def csrf_of(secret: str) -> str:
    return hashlib.sha256(f"csrf {secret}".encode()).hexdigest()


def digest_of(secret: str) -> str:
    """Digest a secret of 256 random bits: no salt and no slow hash is needed for one that nobody can guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def cookie_name(request: HTTPConnection) -> str:
    """Name the session's cookie: with this prefix a browser takes it only by TLS and from this very host."""
    return "__Host-vb_node" if request.url.scheme == "https" else "vb_node"


def cookie_of(request: HTTPConnection) -> str:
    """Give the secret of the session that a browser shows; a request that shows a token has none."""
    if "authorization" in request.headers:
        return ""
    return request.cookies.get(cookie_name(request), "")[:LONGEST_SECRET]


def bearer_of(request: HTTPConnection) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:LONGEST_SECRET] if scheme.lower() == "bearer" else ""


def host_of(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def wants_page(request: Request) -> bool:
    """Say whether a person's browser asks, not a program."""
    is_page = not request.url.path.startswith(("/api/", "/metrics", "/openapi.json"))
    return is_page and "text/html" in request.headers.get("accept", "")


def _has_provider(request: Request) -> bool:
    """Say whether the site's OpenID provider names people: then nobody need be added first."""
    web = request.app.state.settings.web
    return web is not None and web.oidc is not None


def _find(session: Session, request: Request) -> schema.User | None:
    token, secret = bearer_of(request), cookie_of(request)
    if token:
        return users.of_token(session, digest_of(token))
    return users.of_login(session, digest_of(secret), now=time.time()) if secret else None


def _unknown(request: Request) -> HTTPException:
    if wants_page(request):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        back = quote(asked, safe="/") if request.method == "GET" else "/"
        return HTTPException(303, "log in first", {"Location": f"/login?next={back}"})
    return HTTPException(401, "a session or an API token expected", {"WWW-Authenticate": "Bearer"})


def _tell_refusal(database: Database, user: User, request: Request) -> None:
    details = {"method": request.method, "path": request.url.path[:200], "host": host_of(request)}
    with database.write() as session:
        event = "access refused"
        audit.record(session, event, now=time.time(), actor="web", user=user.name, outcome="refused", details=details)
