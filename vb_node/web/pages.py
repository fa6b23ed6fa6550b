"""The pages for people: overview, jobs, one job from first image to last result, system.

Everything is readable without JavaScript; with it the pages keep themselves fresh (htmx) and slices slide.
"""

import time
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from storage import arrivals, jobs
from storage.jobs import MOVES, NotNow
from vb_node import __version__, doctor
from vb_node.errors import NodeError
from vb_node.web import users, views
from vb_node.web.paper import House, Paper

STATIC = Path(__file__).parent / "static"
A_PAGE = 50
Thing = TypeVar("Thing")
FAILED = {
    "400": "The sign-in at the provider was not completed, or this browser did not begin it: try again.",
    "401": "This name and password are not known.",
    "403": "The provider knows you, but this node has no role for you: ask those who run it.",
    "409": "Another user of this node has your name, or you are disabled here: ask those who run it.",
    "429": "Too many attempts that failed: wait a few minutes.",
    "503": "The provider cannot be asked now. Users of this node itself can sign in here; all others: try again later.",
}


class Pages:
    """Answers people."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/login", self.login),
            Route("/", self.overview),
            Route("/jobs", self.jobs),
            Route("/jobs/{job_id:int}", self.job),
            Route("/jobs/{job_id:int}/slices/{k:int}.png", self.slice),
            Route("/jobs/{job_id:int}/{change}", self.change, methods=["POST"]),
            Route("/system", self.system),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    def login(self, request: Request) -> Response:
        asked = request.query_params
        shown: dict[str, Any] = {"after": asked.get("next", "/"), "why": FAILED.get(asked.get("failed", ""), "")}
        shown["provider"] = self._house.settings.web and self._house.settings.web.oidc
        return self._paper.page(request, None, "login", "", **shown)

    def overview(self, request: Request) -> Response:
        user = users.current(request)
        with self._house.database.read() as session:
            found = views.glance(session, self._house.settings, self._house.disk, time.time())
        return self._paper.page(request, user, "overview", "/", **found)

    def jobs(self, request: Request) -> Response:
        user = users.current(request)
        asked = request.query_params
        wanted = {name: asked.get(name, "").strip() or None for name in ("state", "accession", "patient_id", "study")}
        keys: dict[str, Any] = {
            "state": wanted["state"],
            "accession_number": wanted["accession"],
            "patient_id": wanted["patient_id"],
            "study_instance_uid": wanted["study"],
        }
        before = _number(asked.get("before"))
        with self._house.database.read() as session:
            found = jobs.listing(session, before=before, limit=A_PAGE, **keys)
            arriving = [] if before or any(wanted.values()) else arrivals.arriving(session, A_PAGE)
        kept = {name: value for name, value in wanted.items() if value}
        older = f"/jobs?{urlencode(kept | {'before': found[-1].id})}" if len(found) == A_PAGE else None
        now = time.time()
        shown: dict[str, Any] = {"jobs": found, "arriving": arriving, "now": now, "states": list(MOVES)}
        shown |= {"wanted": wanted, "states": list(MOVES), "older": older, "is_first": before is None}
        return self._paper.page(request, user, "jobs", "/jobs", **shown, url=f"/jobs?{urlencode(kept)}")

    def job(self, request: Request) -> Response:
        user = users.current(request)
        job_id = request.path_params["job_id"]
        with self._house.database.read() as session:
            found = _found(views.whole(session, job_id, time.time()), job_id)
        self._house.tell_look(user, found["job"])
        slices, why = 0, ""
        if "hx-request" not in request.headers:  # a page that keeps itself fresh takes no slices
            try:
                stack = self._house.slices.stack(found["job"])
                slices = len(stack)
                first = _number(request.query_params.get("slice"))
                found["slice"] = min(max(stack.fullest if first is None else first, 0), slices - 1)
            except NodeError as error:
                why = str(error)
        may_operate = user.may("operate")
        return self._paper.page(
            request, user, "job", "/jobs", **found, slices=slices, why_no_slices=why, may_operate=may_operate
        )

    def slice(self, request: Request) -> Response:
        users.current(request)
        job_id = request.path_params["job_id"]
        with self._house.database.read() as session:
            job = _found(jobs.find(session, job_id), job_id)
        try:
            picture = self._house.slices.picture(job, request.path_params["k"])
        except NodeError as error:
            raise HTTPException(404, str(error)) from error
        return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})

    def change(self, request: Request) -> Response:
        """Retry or cancel a job; the gate has looked at the form's token."""
        user = users.current(request, "operate")
        changes = {"retry": jobs.retry, "cancel": jobs.cancel}
        job_id, change = request.path_params["job_id"], changes.get(request.path_params["change"])
        if change is None:
            raise HTTPException(404, "a job can be retried or cancelled")
        try:
            with self._house.database.write() as session:
                _found(jobs.find(session, job_id), job_id)
                change(session, job_id, now=time.time(), user=user.name)
        except NotNow as error:
            raise HTTPException(409, str(error)) from error
        return RedirectResponse(f"/jobs/{job_id}", 303)

    def system(self, request: Request) -> Response:
        user = users.current(request)
        settings = self._house.settings
        findings = list(doctor.examine(settings)) if request.query_params.get("doctor") else None
        shown = {"version": __version__, "peers": settings.receive.peers}
        return self._paper.page(request, user, "system", "/system", **shown, findings=findings)


def _found(thing: Thing | None, job_id: int) -> Thing:
    if thing is None:
        raise HTTPException(404, f"there is no job {job_id}")
    return thing


def _number(text: str | None) -> int | None:
    """Read a small whole number; anything else is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
