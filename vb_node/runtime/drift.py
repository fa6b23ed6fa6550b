"""What turns beside the worker: once an hour, are a route's scores still distributed as they were?"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from storage import drift
from storage.database import Database
from storage.drift import Ended
from storage.schema import Drift
from vb_node.config import DriftSettings
from vb_node.pipeline.summary import numbers
from vb_node.tell.pause import Pause

log = logging.getLogger(__name__)

LOOK_S, DAY_S = 3600.0, 86400.0
STILL_CHANCE, STILL_DISTANCE = 10.0, 0.75
"""What drifts is called so until the chance is so many times, or the distance such a share of, what begins it."""

Scores = dict[str, list[float]]


class DriftWatch:
    """Looks at the scores once an hour."""

    def __init__(self, database: Database, settings: DriftSettings) -> None:
        self.database, self.settings = database, settings
        self._pause = Pause()

    def step(self, now: float) -> bool:
        """Look, if it is time."""
        if self._pause.holds(now):
            return False
        self._pause.begin(now, LOOK_S)
        since = now - DAY_S * (self.settings.recent_days + self.settings.reference_days)
        with self.database.read() as session:
            jobs = drift.ended(session, since)
            before = {(one.route, one.score) for one in drift.listing(session) if one.is_drift}
        found = list(distances(jobs, self.settings, before, now))
        with self.database.write() as session:
            drift.replace(session, found)
        if began := [one for one in found if one.is_drift and (one.route, one.score) not in before]:
            log.warning("scores drift", extra={"routes": sorted({one.route for one in began})})
        return False


def distances(
    jobs: Iterable[Ended], settings: DriftSettings, before: Iterable[tuple[str, str]], now: float
) -> Iterator[Drift]:
    """Compare recent results with earlier ones of the same route, application, version and settings.

    ``before`` are the scores that drifted when one looked last. Scores with too few results are left out.
    """
    drifting = set(before)
    for route, of_route in _by_route(jobs).items():
        recent, reference = (_scores(one) for one in _split(of_route, now - DAY_S * settings.recent_days))
        names = [
            name for name in recent if min(len(recent[name]), len(reference.get(name, ()))) >= settings.least_count
        ]
        for name in sorted(names):
            distance, p_value = _distance(recent[name], reference[name])
            chance, least = settings.chance / len(names), settings.least_distance
            if (route, name) in drifting:
                chance, least = chance * STILL_CHANCE, least * STILL_DISTANCE
            yield Drift(
                route=route,
                score=name,
                distance=distance,
                p_value=p_value,
                recent=len(recent[name]),
                reference=len(reference[name]),
                is_drift=p_value < chance and distance >= least,
                at=now,
            )


def _distance(recent: Sequence[float], reference: Sequence[float]) -> tuple[float, float]:
    """Give the distance of Kolmogorov and Smirnov, and its p-value."""
    from scipy.stats import ks_2samp  # late: it takes half a second, and most looks find too few results

    test = ks_2samp(recent, reference)
    return float(test.statistic), float(test.pvalue)


def scores_of(outcome: Mapping[str, object]) -> dict[str, float]:
    """Give the scores of a result: confidence of the localisation, distance to the training data, probabilities."""
    named = {f"probability {name}": value for name, value in numbers(outcome.get("probabilities")).items()}
    return named | numbers({name: outcome.get(name) for name in ("confidence", "novelty")})


def _by_route(jobs: Iterable[Ended]) -> dict[str, list[Ended]]:
    """Keep of each route what was made as its newest result was: another version or setting begins anew."""
    kept: dict[str, list[Ended]] = {}
    for one in jobs:
        of_route = kept.setdefault(one.route, [one])
        if one is not of_route[0] and _made(one) == _made(of_route[0]):
            of_route.append(one)
    return kept


def _made(one: Ended) -> tuple[str, str, str]:
    return one.application, one.version, json.dumps(one.plan, sort_keys=True)


def _split(jobs: Sequence[Ended], border: float) -> tuple[list[Ended], list[Ended]]:
    return [one for one in jobs if one.finished_at >= border], [one for one in jobs if one.finished_at < border]


def _scores(jobs: Iterable[Ended]) -> Scores:
    found: Scores = {}
    for one in jobs:
        for name, value in scores_of(one.outcome or {}).items():
            found.setdefault(name, []).append(value)
    return found
