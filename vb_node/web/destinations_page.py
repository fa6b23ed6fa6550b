"""The page of the destinations: what waits for each, what it takes when it is asked, and what is parked."""

import threading
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from storage import deliveries, overview
from vb_node import doctor
from vb_node.config import DestinationSettings
from vb_node.web import users
from vb_node.web.paper import House, Paper

MOST_PARKED = 200


class DestinationsPage:
    """Shows destinations to people, and lets operators ask them and send again."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper
        self._asking = threading.Lock()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/destinations", self.show),
            Route("/destinations/{name}/probe", self.probe, methods=["POST"]),
            Route("/destinations/{name}/send-again", self.ask_for_all),
            Route("/destinations/{name}/send-again", self.send_all_again, methods=["POST"]),
            Route("/deliveries/{delivery_id:int}/send-again", self.send_again, methods=["POST"]),
        ]

    def show(self, request: Request) -> Response:
        return self._draw(request, users.current(request))

    def probe(self, request: Request) -> Response:
        """Propose to one destination all that it would be sent, and C-ECHO; one at a time, for it may take long."""
        user, name = users.current(request, "operate"), request.path_params["name"]
        one = next((each for each in self._house.settings.destinations if each.name == name), None)
        if one is None:
            raise HTTPException(404, "a destination of the configuration expected")
        if not self._asking.acquire(blocking=False):
            raise HTTPException(409, "a destination is asked already: try again in a moment")
        try:
            findings = list(doctor.destination(one, self._house.settings))
        finally:
            self._asking.release()
        states = {finding.about: finding.state for finding in findings}
        self._house.tell(user, "destination probed", {"found": states}, peer=name)
        return self._draw(request, user, name, findings)

    def send_again(self, request: Request) -> Response:
        user, delivery_id = users.current(request, "operate"), request.path_params["delivery_id"]
        try:
            with self._house.database.write() as session:
                delivery = deliveries.find(session, delivery_id)
                if delivery is None:
                    raise HTTPException(404, f"there is no delivery {delivery_id}")
                deliveries.send_again(session, delivery, now=time.time(), user=user.name)
        except deliveries.NotParked as error:
            raise HTTPException(409, str(error)) from error
        return RedirectResponse("/destinations", 303)

    def ask_for_all(self, request: Request) -> Response:
        """Ask whether all that is parked for a destination is to go, with the count."""
        user, name = users.current(request, "operate"), request.path_params["name"]
        with self._house.database.read() as session:
            found = [one for one in overview.ways(session, []) if one.destination == name]
        parked = found[0].states.get("parked", 0) if found else 0
        is_known = name in {one.name for one in self._house.settings.destinations}
        shown = {
            "destination": name,
            "parked": parked,
            "is_known": is_known,
            "is_down": bool(found and found[0].down_since),
        }
        return self._paper.page(request, user, "send_again", "/destinations", **shown)

    def send_all_again(self, request: Request) -> Response:
        user, name = users.current(request, "operate"), request.path_params["name"]
        try:
            with self._house.database.write() as session:
                deliveries.send_all_again(session, name, now=time.time(), user=user.name)
        except deliveries.NotParked as error:
            raise HTTPException(409, str(error)) from error
        return RedirectResponse("/destinations", 303)

    def _draw(
        self, request: Request, user: users.User, asked: str = "", findings: list[doctor.Finding] | None = None
    ) -> Response:
        known = self._house.settings.destinations
        with self._house.database.read() as session:
            ways = overview.ways(session, [one.name for one in known])
            parked = deliveries.parked(session, limit=MOST_PARKED)
        shown = {
            "now": time.time(),
            "ways": ways,
            "places": {one.name: _place(one) for one in known},
            "parked": parked,
            "limit": MOST_PARKED,
            "asked": asked,
            "findings": findings,
            "may_operate": user.may("operate"),
        }
        return self._paper.page(request, user, "destinations", "/destinations", **shown)


def _place(one: DestinationSettings) -> str:
    if one.kind == "dimse":
        return f"{one.ae_title}@{one.host}:{one.port}"
    return f"STOW-RS {one.url}" if one.kind == "stow" else f"folder {one.folder}"
