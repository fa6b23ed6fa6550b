"""What shadow routes gave beside the live ones: pair by pair, and how far they agree over all."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from storage import comparisons
from storage.comparisons import Pair
from storage.schema import Comparison
from vb_node import show

MOST = 2000
"""Pairs that a summary is made of, the newest."""
SIDES = ("live", "shadow")

Row = dict[str, Any]


def listing(session: Session, since: float | None = None) -> tuple[list[Row], list[Row]]:
    """Give the summary of each shadow route, and the pairs: those that disagree first, then the newest."""
    pairs = comparisons.listing(session, since=since, limit=MOST)
    return summaries(pairs), [row(one) for one in sorted(pairs, key=lambda one: not one.comparison.is_disagreement)]


def summaries(pairs: Iterable[Pair]) -> list[Row]:
    """Summarise the pairs of each shadow route."""
    by_route: dict[str, list[Comparison]] = {}
    for one in pairs:
        by_route.setdefault(one.route, []).append(one.comparison)
    return [{"route": route, **_summary(found)} for route, found in sorted(by_route.items())]


def row(pair: Pair) -> Row:
    """Give the line of a pair in a list."""
    one = pair.comparison
    said: Mapping[str, Any] = one.figures
    return {
        "shadow_job": one.shadow_job_id,
        "live_job": one.live_job_id,
        "route": pair.route,
        "application": pair.application,
        "series_instance_uid": pair.series_instance_uid,
        "study_instance_uid": pair.study_instance_uid,
        "compared": show.moment(one.compared_at),
        "differs": said["differs"],
        "dice": said["dice"],
        "centres_mm": said["centres_mm"],
        "why_no_dice": said.get("why"),
        **{side: said[side] for side in SIDES},
    }


def brief(row: Mapping[str, Any]) -> Row:
    """Keep what fits a line of a terminal: live and shadow side by side."""
    sides = [row[side] for side in SIDES]
    both = {name: " / ".join(str(side[name] or "-") for side in sides) for name in ("result", "class")}
    ids = {"shadow": row["shadow_job"], "live": row["live_job"]}
    return ids | {"differs": ", ".join(row["differs"])} | both | {"dice": row["dice"], "mm": row["centres_mm"]}


def _summary(found: Sequence[Comparison]) -> Row:
    figures = [one.figures for one in found]
    told: Row = {"pairs": len(found), "disagreements": sum(one.is_disagreement for one in found)}
    for name in ("result", "class"):
        both = [(one["live"][name], one["shadow"][name]) for one in figures]
        told |= _agreement(name, [pair for pair in both if None not in pair])
    for name in ("dice", "centres_mm"):
        told[f"median_{name}"] = _median(one[name] for one in figures)
    for side in SIDES:
        told[f"median_seconds_{side}"] = _median(one[side]["seconds"] or None for one in figures)
    return told


def _agreement(name: str, pairs: Sequence[tuple[str, str]]) -> Row:
    """Give the share of equal words, and Cohen's kappa, which takes off what chance would give."""
    equal = sum(one == other for one, other in pairs)
    share = round(equal / len(pairs), 3) if pairs else None
    return {f"{name}_agreement": share, f"{name}_kappa": _kappa(pairs)}


def _kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Give Cohen's kappa; None where each said one word only, about which it says nothing."""
    if len({word for pair in pairs for word in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # late: it takes a second

    return round(float(cohen_kappa_score(*zip(*pairs, strict=True))), 3)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 3) if known else None
