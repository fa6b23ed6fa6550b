"""The page of the shadow routes: what they gave beside the live ones, disagreements first."""

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vb_node import shadow
from vb_node.web import users
from vb_node.web.paper import House, Paper

SPANS = {"7": "a week", "30": "30 days", "90": "90 days", "365": "a year"}
USUAL_SPAN, MOST_PAIRS, DAY_S = "30", 200, 86400.0


class ShadowPage:
    """Shows people what a shadow route would have sent, and what was sent instead."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper

    def routes(self) -> list[BaseRoute]:
        return [Route("/shadow", self.show)]

    def show(self, request: Request) -> Response:
        user = users.current(request)
        asked = request.query_params.get("days", USUAL_SPAN)
        days = asked if asked in SPANS else USUAL_SPAN
        with self._house.database.read() as session:
            summaries, pairs = shadow.listing(session, time.time() - DAY_S * int(days))
        shown = {"summaries": summaries, "pairs": pairs[:MOST_PAIRS], "count": len(pairs), "limit": MOST_PAIRS}
        routes = [route for route in self._house.settings.routes if route.shadow]
        return self._paper.page(
            request, user, "shadow", "/shadow", **shown, routes=routes, days=days, spans=SPANS, most=shadow.MOST
        )
