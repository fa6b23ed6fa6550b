"""Series descriptions of a peer: those that are new, and those that a route took and that come no more.

A description is free text, which may name a patient: pages show it to who may see jobs, an alert counts it only.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from storage.schema import Described
from vb_node.config import DriftSettings

DAY_S = 86400.0
KNOWN_SERIES, NEW_SERIES, USUAL_SERIES = 100, 5, 20
MISSED = 10.0
"""A description is missed after so many times the usual time between two: by chance once in e^10, some 22,000."""

Change = Literal["new", "vanished"]


def changes(
    found: Iterable[Described], settings: DriftSettings, now: float
) -> Mapping[tuple[str, Change], Sequence[Described]]:
    """Give, by peer, what is new and what vanished; of what is gone for longer than one looks back nothing is said."""
    by_peer: dict[str, list[Described]] = {}
    for one in found:
        by_peer.setdefault(one.peer, []).append(one)
    told: dict[tuple[str, Change], list[Described]] = {}
    for peer, own in by_peer.items():
        recent_s, reference_s = DAY_S * settings.recent_days, DAY_S * settings.reference_days
        told[peer, "new"] = [one for one in own if _is_new(one, own, recent_s, now)]
        told[peer, "vanished"] = [one for one in own if _is_missed(one, own, recent_s, reference_s)]
    return {key: those for key, those in told.items() if those}


def _is_new(one: Described, own: Sequence[Described], recent_s: float, now: float) -> bool:
    """Say whether it came for the first time lately and more than now and then, of a peer that is known for longer."""
    is_recent = now - one.first_at < recent_s and one.series >= NEW_SERIES
    known = [other for other in own if now - other.first_at >= recent_s]
    return is_recent and sum(other.series for other in known) >= KNOWN_SERIES


def _is_missed(one: Described, own: Sequence[Described], recent_s: float, reference_s: float) -> bool:
    """Say whether a route took it, it came regularly, and the peer sends other series only, for too long."""
    if one.route is None or one.series < USUAL_SERIES:
        return False
    usual_s = (one.last_at - one.first_at) / (one.series - 1)
    silent_s = max(other.last_at for other in own) - one.last_at
    return max(recent_s, MISSED * usual_s) < silent_s < recent_s + reference_s
