"""How often drift is told where there is none, and how soon where there is: simulated traffic, a look a day.

Run ``python tests/benchmarks/drift.py [--years 20] [--rates 10 20 100] [--seed 1]`` and keep its table in
docs/operations.md. Results have the six scores of Virtual Biopsy; confidence and the probabilities hang together.
"""

import argparse
import statistics
from collections.abc import Sequence

import numpy as np

from storage.drift import Ended
from vb_node import show
from vb_node.config import DriftSettings
from vb_node.runtime.drift import DAY_S, distances

CLASSES = ("PCNSL", "Glioma", "Rare", "Germinoma")
SHIFTS = (0.05, 0.1, 0.2)
TRIALS, LONGEST_DAYS = 15, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 20, 100])
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    rows = [_row(rate, words.years, np.random.default_rng(words.seed)) for rate in words.rates]
    show.table("Drift", list(rows[0]), [list(row.values()) for row in rows])


def _row(rate: int, years: int, chance: np.random.Generator) -> dict[str, object]:
    settings = DriftSettings()
    days = int(365 * years + settings.recent_days + settings.reference_days)
    looks, alarms = _watch(_traffic(rate, days, chance), days - 365 * years, days, settings)
    row: dict[str, object] = {"results a day": rate, "looks": looks, "false alarms": len(alarms)}
    row["false alarms a year"] = round(len(alarms) / years, 3)
    for shift in SHIFTS:
        found = [_days_until_told(rate, shift, settings, chance) for _ in range(TRIALS)]
        told = [day for day in found if day is not None]
        median = statistics.median(told) if told else "-"
        row[f"confidence -{shift}"] = f"{len(told)}/{TRIALS}, median {median} days"
    return row


def _traffic(
    rate: int, days: int, chance: np.random.Generator, since: int | None = None, shift: float = 0.0
) -> list[Ended]:
    """Make so many results a day (Poisson), oldest first; from day ``since`` the confidence is lower by ``shift``."""
    made = []
    for day in range(days):
        for at in sorted(chance.random(chance.poisson(rate))):
            confidence = max(chance.beta(6, 3) - (shift if since is not None and day >= since else 0.0), 0.0)
            probabilities = chance.dirichlet(1 + 4 * confidence * np.array([0.3, 0.5, 0.1, 0.1]))
            outcome = {"confidence": float(confidence), "novelty": float(chance.lognormal(-0.5, 0.4))}
            outcome["probabilities"] = dict(zip(CLASSES, map(float, probabilities), strict=True))
            made.append(Ended("brains", "virtual_biopsy", "1", {}, (day + at) * DAY_S, outcome))
    return made


def _watch(results: Sequence[Ended], first: int, last: int, settings: DriftSettings) -> tuple[int, list[int]]:
    """Look once a day; give how often, and the days on which a score began to be told of."""
    times = [one.finished_at for one in results]
    before: set[tuple[str, str]] = set()
    begun = []
    for day in range(first, last):
        now = day * DAY_S
        low, high = np.searchsorted(times, [now - DAY_S * (settings.recent_days + settings.reference_days), now])
        found = distances(results[low:high][::-1], settings, before, now)
        drifting = {(one.route, one.score) for one in found if one.is_drift}
        begun += [day] if drifting and not before else []
        before = drifting
    return last - first, begun


def _days_until_told(rate: int, shift: float, settings: DriftSettings, chance: np.random.Generator) -> int | None:
    since = int(settings.recent_days + settings.reference_days)
    results = _traffic(rate, since + LONGEST_DAYS, chance, since, shift)
    _, alarms = _watch(results, since, since + LONGEST_DAYS, settings)
    return alarms[0] - since if alarms else None


if __name__ == "__main__":
    main()
