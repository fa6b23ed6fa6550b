"""Which route takes which series of a study, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.schema import Instance
from storage.spool import Spool
from vb_node.config import RouteSettings, Settings
from vb_node.dicom.read import read_header
from vb_node.errors import Unfit
from vb_node.pipeline import rule
from vb_node.pipeline.application import Application, Candidate, find
from vb_node.pipeline.rule import Rule
from vb_node.pipeline.select import IMAGE_CLASSES, Choice


@dataclass(frozen=True)
class Route:
    """A route with its rule read and its application planned."""

    settings: RouteSettings
    matches: Rule
    application: Application
    plan: dict[str, Any]

    @property
    def shadow(self) -> str | None:
        """Name it, if it is one whose jobs stand beside those that are sent."""
        return self.settings.name if self.settings.shadow else None


class Router:
    """The routes of a configuration, the most urgent first; raises ``ConfigError`` for a rule that is none."""

    def __init__(self, settings: Settings, applications: Mapping[str, Application]) -> None:
        by_priority = sorted(settings.routes, key=lambda route: -route.priority)
        self.routes = [_route(route, find(applications, route.application), settings) for route in by_priority]

    def choices(self, study: Mapping[str, Candidate | Unfit]) -> list[tuple[Route, Choice]]:
        """Ask each route's application of each series of a study, by series UID; what cannot be read is left."""
        return [(route, choice) for route in self.routes for choice in _choices(route, study)]


def _choices(route: Route, study: Mapping[str, Candidate | Unfit]) -> list[Choice]:
    left: list[Choice] = []
    fitting: list[Candidate] = []
    for uid, candidate in study.items():
        if isinstance(candidate, Unfit):
            left.append(Choice(uid, False, 0.0, str(candidate)))
        elif route.matches(candidate.header):
            fitting.append(candidate)
        else:
            left.append(Choice(uid, False, 0.0, "the route's rule does not match"))
    return left + route.application.select(fitting, route.plan)


def _route(route: RouteSettings, application: Application, settings: Settings) -> Route:
    return Route(route, rule.parse(route.when), application, application.plan(settings.of_route(route)))


def candidate_of(spool: Spool, instances: Sequence[Instance]) -> Candidate | Unfit:
    """Give one header for a series of the spool, an image's where it has one, or why it cannot be read."""
    images = [one for one in instances if one.sop_class_uid in IMAGE_CLASSES] or instances
    try:
        header = read_header(spool.path_of(images[0].sop_instance_uid, images[0].sha256))
    except Unfit as error:
        return error
    return Candidate(header, len(images))
