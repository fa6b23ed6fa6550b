"""The page of one's own account: who one is, by what one is known, and another password."""

import time

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from storage import audit, users
from vb_node.web.gate import form
from vb_node.web.login import Logins
from vb_node.web.paper import House, Paper
from vb_node.web.passwords import LONGEST, SHORTEST, hashed, is_password
from vb_node.web.users import User, cookie_of, current, digest_of, host_of

SAID = {
    "changed": "The password is changed. Your other sessions have ended.",
    "wrong": "The present password was another one.",
    "differ": "The new password was not the same twice.",
    "length": f"The new password must have {SHORTEST} to {LONGEST} characters.",
    "wait": "Too many attempts that failed: wait a few minutes.",
}


class AccountPage:
    """Answers a person about itself."""

    def __init__(self, house: House, paper: Paper, logins: Logins) -> None:
        self._house, self._paper, self._logins = house, paper, logins

    def routes(self) -> list[BaseRoute]:
        return [Route("/account", self.show), Route("/account/password", self.change, methods=["POST"])]

    def show(self, request: Request) -> Response:
        user = current(request)
        with self._house.database.read() as session:
            known = users.get(session, user.name)
        if known is None:
            raise HTTPException(404, "this user was removed")
        said = request.query_params.get("said", "")
        words = {"known": known, "said": SAID.get(said, ""), "is_good": said == "changed"}
        return self._paper.page(request, user, "account", "/account", **words, shortest=SHORTEST, longest=LONGEST)

    async def change(self, request: Request) -> Response:
        """Change the password of who shows the present one; a hash at a time, as at the login."""
        outcome = await run_sync(self._try, request, limiter=self._logins.hands)
        return RedirectResponse(f"/account?said={outcome}", 303)

    def _try(self, request: Request) -> str:
        user, given = current(request), form(request)
        present, new = given.get("present", ""), given.get("new", "")
        if new != given.get("again", ""):
            return "differ"
        keys = f"name {user.name}", f"host {host_of(request)}"
        if self._logins.throttle.attempt(*keys) > 0:
            return "wait"
        with self._house.database.read() as session:
            known = users.get(session, user.name)
        if known is None or not is_password(present, known.password):
            self._tell_refusal(user, request)
            return "wrong"
        self._logins.throttle.succeed(*keys)
        try:
            kept, now, digest = digest_of(cookie_of(request)), time.time(), hashed(new)
        except ValueError:
            return "length"
        with self._house.database.write() as session:
            users.change(session, user.name, "password", digest, now=now, by=user.name, kept=kept)
        return "changed"

    def _tell_refusal(self, user: User, request: Request) -> None:
        told = {"name": user.name, "key": "password", "host": host_of(request)}
        with self._house.database.write() as session:
            audit.record(
                session, "user changed", now=time.time(), actor="users", user=user.name, outcome="refused", details=told
            )
