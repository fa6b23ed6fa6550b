"""Which series descriptions of a peer are called new, and which vanished."""

from storage.schema import Described
from vb_node.config import DriftSettings
from vb_node.tell.descriptions import DAY_S, changes

NOW = 100 * DAY_S


def _sent(description: str, series: int, first_day: float, last_day: float, route: str | None = None) -> Described:
    return Described(
        peer="MR1",
        description=description,
        route=route,
        series=series,
        first_at=first_day * DAY_S,
        last_at=last_day * DAY_S,
    )


USUAL = _sent("LOCALIZER", 500, 0, 100)


def _told(*found: Described) -> dict[str, list[str]]:
    told = changes(found, DriftSettings(), NOW)
    return {change: [one.description for one in those] for (_, change), those in told.items()}


def test_a_description_that_comes_regularly_since_some_days_is_new() -> None:
    assert _told(USUAL, _sent("T1 NEW", 5, 95, 100)) == {"new": ["T1 NEW"]}


def test_one_that_came_once_or_is_known_for_longer_is_not_new() -> None:
    assert _told(USUAL, _sent("TYPED BY HAND", 4, 95, 100), _sent("T2", 50, 92, 100)) == {}


def test_a_peer_that_is_new_itself_has_no_new_descriptions() -> None:
    assert _told(_sent("LOCALIZER", 99, 0, 100), _sent("T1 NEW", 50, 95, 100)) == {}


def test_a_description_that_a_route_took_every_day_is_missed_after_ten_days() -> None:
    assert _told(USUAL, _sent("T1 POST", 90, 0, 89, route="brains")) == {"vanished": ["T1 POST"]}
    assert _told(USUAL, _sent("T1 POST", 91, 0, 90.5, route="brains")) == {}


def test_a_rare_one_is_missed_later_and_one_that_no_route_took_never() -> None:
    weekly = _sent("T1 WEEKLY", 20, -60, 73, route="brains")

    assert _told(USUAL, weekly, _sent("T2", 90, 0, 50)) == {}


def test_what_is_gone_for_longer_than_one_looks_back_is_told_no_more() -> None:
    assert _told(USUAL, _sent("T1 POST", 60, 0, 32, route="brains")) == {}


def test_a_peer_that_is_silent_has_lost_no_description() -> None:
    assert _told(_sent("LOCALIZER", 500, 0, 60), _sent("T1 POST", 60, 0, 60, route="brains")) == {}
