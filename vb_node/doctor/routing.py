"""The routes, and whether they lead anywhere."""

from collections.abc import Iterator

from vb_node.config import Settings
from vb_node.doctor.finding import DOUBTFUL, GOOD, Finding
from vb_node.pipeline.application import installed
from vb_node.runtime.routing import Route, Router


def routes(settings: Settings) -> Iterator[Finding]:
    known = Router(settings, installed()).routes
    for route in known:
        own = route.settings
        found = f"{own.application}, to {', '.join(own.destinations) or 'nowhere'}"
        remedy = "" if own.destinations or own.shadow else "name [[destinations]], or its results stay here"
        if own.shadow and any(_is_alike(route, other) for other in known):
            found += ", as a live route does"
            remedy = "give it another application or [routes.virtual_biopsy]: the same is compared with the same"
        yield Finding(f"route {own.name}", GOOD if not remedy else DOUBTFUL, found, remedy)
    if not settings.receive.peers:
        yield Finding("peers", DOUBTFUL, "nobody may send", "name the PACS under [[receive.peers]]")


def _is_alike(shadow: Route, other: Route) -> bool:
    is_live = not other.settings.shadow
    return is_live and (shadow.application.name, shadow.plan) == (other.application.name, other.plan)
