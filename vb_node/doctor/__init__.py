"""``vb-node doctor``: what is wrong, or soon will be, with this machine, this configuration and those around it."""

from collections.abc import Iterator

from vb_node.config import Settings
from vb_node.doctor import machine
from vb_node.doctor.around import certificates, destination, destinations, listeners, provider
from vb_node.doctor.finding import DOUBTFUL, GOOD, WRONG, Check, Finding
from vb_node.doctor.pinned import site_weights, weights
from vb_node.doctor.routing import routes
from vb_node.errors import NodeError

__all__ = [
    "DOUBTFUL",
    "GOOD",
    "WRONG",
    "Finding",
    "destination",
    "examine",
    "examine_configuration",
    "site_weights",
    "weights",
]


def examine(settings: Settings) -> Iterator[Finding]:
    """Make every check, and give each finding as it is known; a check that fails itself is a finding too."""
    yield from _try(settings, machine.disk, machine.ledger, machine.stations, machine.clock)
    yield from examine_configuration(settings)
    yield from _try(settings, machine.device)
    yield from weights()
    yield from _try(settings, site_weights)
    yield from machine.packages()


def examine_configuration(settings: Settings) -> Iterator[Finding]:
    """Make the checks whose outcome another configuration changes."""
    yield from _try(settings, routes, certificates, destinations, provider, listeners)


def _try(settings: Settings, *checks: Check) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(settings)
        except (NodeError, OSError) as error:
            yield Finding(check.__name__, WRONG, str(error))
