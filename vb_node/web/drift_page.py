"""The page of what changes without an error: scores of each route, and series descriptions of each peer."""

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from storage import drift
from vb_node.tell.descriptions import changes
from vb_node.web import users
from vb_node.web.paper import House, Paper

MOST_ROWS = 500


class DriftPage:
    """Shows people what the alerts of drift are about."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper

    def routes(self) -> list[BaseRoute]:
        return [Route("/drift", self.show)]

    def show(self, request: Request) -> Response:
        user, now, settings = users.current(request), time.time(), self._house.settings.drift
        with self._house.database.read() as session:
            scores, described = drift.listing(session), drift.descriptions(session)
        changed = {
            (one.peer, one.description): change
            for (_, change), those in changes(described, settings, now).items()
            for one in those
        }
        rows = [(one, changed.get((one.peer, one.description), "")) for one in described]
        rows.sort(key=lambda row: (not row[1], -row[0].last_at))
        shown = {"scores": scores, "rows": rows[:MOST_ROWS], "count": len(rows), "now": now, "settings": settings}
        return self._paper.page(request, user, "drift", "/drift", **shown)
