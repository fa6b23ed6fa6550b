"""Login and logout of people: one answer and one time for all that is wrong (RELIABILITY W-16)."""

import time
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from storage import audit, users
from storage.database import Database
from vb_node.web.gate import form
from vb_node.web.passwords import is_password, new_secret
from vb_node.web.throttle import Throttle
from vb_node.web.users import cookie_name, cookie_of, digest_of, host_of, wants_page

AT_ONCE = 2  # a hash takes 64 MiB
LONGEST_NAME = 64


@dataclass
class Logins:
    """Begins and ends sessions of ``session_s`` seconds."""

    database: Database
    session_s: float
    throttle: Throttle = field(default_factory=Throttle)

    def __post_init__(self) -> None:
        self.hands = CapacityLimiter(AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        return [Route("/login", self.log_in, methods=["POST"]), Route("/logout", self.log_out, methods=["POST"])]

    async def log_in(self, request: Request) -> Response:
        """Begin a session with a new secret; whatever the browser showed before is of no use for it."""
        given = form(request)
        name, password = given.get("name", "")[:LONGEST_NAME], given.get("password", "")
        keys = f"name {name}", f"host {host_of(request)}"
        wait_s = self.throttle.attempt(*keys)
        if wait_s > 0:
            return refuse(request, 429, "too many failed logins: wait", {"Retry-After": str(int(wait_s) + 1)})
        secret = await run_sync(self._try, name, password, request, limiter=self.hands)
        if secret is None:
            return refuse(request, 401, "the name and the password of a user expected")
        self.throttle.succeed(*keys)
        answer = RedirectResponse(local(given.get("next", "")), 303)
        self.show(answer, request, secret)
        return answer

    async def log_out(self, request: Request) -> Response:
        await run_sync(self._end, cookie_of(request), limiter=self.hands)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_name(request), secure=request.url.scheme == "https", httponly=True)
        return answer

    def _try(self, name: str, password: str, request: Request) -> str | None:
        """Give the secret of a new session, None for a wrong name or password."""
        with self.database.read() as session:
            user = users.get(session, name) if "\x00" not in name else None
        is_known = user is not None and user.disabled_at is None
        is_right = is_password(password, user.password if user is not None else None) and is_known
        now, host = time.time(), host_of(request)
        with self.database.write() as session:
            if not is_right:  # a name that is no user's may be a password in the wrong field
                known, details = user.name if user is not None else None, {"host": host}
                audit.record(
                    session, "login failed", now=now, actor="web", outcome="refused", user=known, details=details
                )
                return None
            return self.begin(session, name, request)

    def begin(self, session: Session, name: str, request: Request) -> str:
        """Begin a session of a user, in the place of the one that the browser shows; give its secret."""
        now, secret = time.time(), new_secret()
        if cookie_of(request):
            users.end(session, digest_of(cookie_of(request)), now=now)
        digest, host = digest_of(secret), host_of(request)
        users.begin(session, name, digest, host=host, now=now, expires_at=now + self.session_s)
        return secret

    def show(self, answer: Response, request: Request, secret: str) -> None:
        """Have the browser keep the secret of its session, and show it to pages of ours only."""
        is_secure = request.url.scheme == "https"
        name = cookie_name(request)
        answer.set_cookie(name, secret, int(self.session_s), httponly=True, secure=is_secure, samesite="strict")

    def _end(self, secret: str) -> None:
        with self.database.write() as session:
            users.end(session, digest_of(secret), now=time.time())


def local(path: str) -> str:
    """Give a path of this node to go on to: of another's address, or of none, the first page (W-09)."""
    is_plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if is_plain and path.startswith("/") and not path.startswith("//") else "/"


def refuse(request: Request, code: int, why: str, headers: dict[str, str] | None = None) -> Response:
    """Answer a program by the status, and a person by the page of the login, which has words for each status."""
    if wants_page(request):
        return RedirectResponse(f"/login?failed={code}", 303)
    return JSONResponse({"error": why}, code, headers)
