"""Login by the site's OpenID provider: a browser is sent there and comes back with a code, which becomes a session.

What began is known by a cookie alone. It is SameSite=Lax, for the way back comes from another site; the cookie of the
session is Strict, so the last step is a page of ours that takes the browser on.
"""

import hmac
import logging
import re
import time
from dataclasses import dataclass
from urllib.parse import quote, unquote

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from storage import audit, users
from storage.schema import User
from vb_node.errors import ConfigError, Later
from vb_node.openid.attempt import Attempt
from vb_node.openid.id_token import NotLetIn
from vb_node.openid.person import Person, person_of
from vb_node.openid.provider import Provider
from vb_node.web.login import Logins, local, refuse
from vb_node.web.paper import Paper
from vb_node.web.passwords import new_secret
from vb_node.web.users import host_of

log = logging.getLogger(__name__)

BEGIN, BACK = "/login/openid", "/login/openid/back"
PATIENCE_S = 600
LONGEST_CODE, LONGEST_NEXT = 2000, 1000
AT_ONCE = 4  # each may wait for the provider; nobody else waits for them
ERROR = re.compile(r"[a-z_]{1,40}")


@dataclass(eq=False)
class _Refusal(Exception):
    """Nobody is let in; ``details`` say who it would have been."""

    code: int
    why: str
    details: dict[str, str]


class OpenIdLogins:
    """Begins sessions of people whom the provider knows; they end as all others do."""

    def __init__(self, provider: Provider, logins: Logins, paper: Paper) -> None:
        self._provider, self._logins, self._paper = provider, logins, paper
        self._hands = CapacityLimiter(AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        return [Route(BEGIN, self.begin), Route(BACK, self.back)]

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider, with a secret that it shows when it comes back."""
        attempt = Attempt(new_secret())
        try:
            address = await run_sync(self._provider.address, attempt, _back(request), limiter=self._hands)
        except (Later, ConfigError) as error:
            return _away(request, error)
        answer = RedirectResponse(address, 303)
        kept = f"{attempt.secret}.{quote(local(request.query_params.get('next', '')[:LONGEST_NEXT]), safe='')}"
        is_secure = request.url.scheme == "https"
        answer.set_cookie(
            _cookie_name(request), kept, PATIENCE_S, httponly=True, secure=is_secure, samesite="lax", path="/"
        )
        return answer

    async def back(self, request: Request) -> Response:
        """Take what the provider says of a person; whatever comes of it, this attempt is over."""
        answer = await run_sync(self._answer, request, f"host {host_of(request)}", limiter=self._hands)
        answer.delete_cookie(_cookie_name(request), secure=request.url.scheme == "https", httponly=True, samesite="lax")
        return answer

    def _answer(self, request: Request, host: str) -> Response:
        """Let a person in, or say why not; only a code or state that is none counts as a failed attempt."""
        throttle = self._logins.throttle
        wait_s = throttle.attempt(host)  # fewer wait for the provider at once than may fail
        if wait_s > 0:
            return refuse(request, 429, "too many failed logins: wait", {"Retry-After": str(int(wait_s) + 1)})
        secret, _, after = request.cookies.get(_cookie_name(request), "").partition(".")
        try:
            session = self._let_in(request, self._ask(request, Attempt(secret)))
        except (Later, ConfigError) as error:
            throttle.succeed(host)
            return _away(request, error)
        except _Refusal as refused:
            if refused.code != 400:
                throttle.succeed(host)
            self._tell(request, refused)
            return refuse(request, refused.code, refused.why)
        throttle.succeed(host)
        answer = self._paper.page(request, None, "entered", "", after=local(unquote(after)))
        self._logins.show(answer, request, session)
        return answer

    def _ask(self, request: Request, attempt: Attempt) -> Person:
        """Give the person that the provider names; raise ``_Refusal``, or what the provider raises."""
        asked, settings = request.query_params, self._provider.settings
        try:
            if not attempt.secret or not hmac.compare_digest(asked.get("state", "").encode(), attempt.state.encode()):
                raise NotLetIn("the state of a login that this browser began expected")
            if asked.get("iss", settings.issuer) != settings.issuer:  # RFC 9207 2.4
                raise NotLetIn("an answer of the provider that was asked expected")
            code, error = asked.get("code", ""), asked.get("error", "")
            if error or not 0 < len(code) <= LONGEST_CODE:
                raise NotLetIn(f"a code expected, the provider answered {error if ERROR.fullmatch(error) else 'none'}")
            return person_of(self._provider.claims(code, attempt, _back(request)), settings)
        except NotLetIn as error:
            raise _Refusal(400, str(error), {}) from error

    def _let_in(self, request: Request, person: Person) -> str:
        """Give the secret of a new session; who has no role any more loses those that there are."""
        named = {"name": person.name, "subject": person.subject}
        with self._logins.database.write() as session:
            if person.role is not None:
                user = User(name=person.name, role=person.role, created_at=time.time())
                user.issuer, user.subject = person.issuer, person.subject
                try:
                    return self._logins.begin(session, users.meet(session, user).name, request)
                except users.NotSo as error:
                    raise _Refusal(409, str(error), named) from error
            known = users.of_subject(session, person.issuer, person.subject)
            if known is not None:
                users.end_all(session, known.name)
        raise _Refusal(403, "a claim that gives a role (web.oidc.roles) expected", named)

    def _tell(self, request: Request, refused: _Refusal) -> None:
        told = {"host": host_of(request), "issuer": self._provider.settings.issuer, "why": refused.why}
        log.warning("login by OpenID refused", extra={"host": told["host"], "why": refused.why})
        with self._logins.database.write() as session:
            audit.record(
                session, "login failed", now=time.time(), actor="web", outcome="refused", details=told | refused.details
            )


def _back(request: Request) -> str:
    """Give the address to come back to; the gate has looked at the host."""
    return f"{request.url.scheme}://{request.headers['host']}{BACK}"


def _cookie_name(request: Request) -> str:
    return "__Host-vb_node_login" if request.url.scheme == "https" else "vb_node_login"


def _away(request: Request, error: Exception) -> Response:
    log.warning("OpenID provider not asked", extra={"why": str(error)})
    return refuse(
        request, 503, "the OpenID provider cannot be asked now: local users can log in", {"Retry-After": "60"}
    )
