"""What is said of shadow routes over all: counts, agreement, kappa, medians."""

import pytest

from storage.comparisons import Pair
from storage.schema import Comparison
from vb_node import shadow

Both = tuple[str | None, str | None]
FOUND, NOTHING = "localised", "not localised"


def _pair(number: int, results: Both, classes: Both, dice: float | None, route: str = "trial") -> Pair:
    live, beside = (
        {"result": result, "class": name, "volume_ml": 2.0, "seconds": seconds}
        for result, name, seconds in zip(results, classes, (10.0, 30.0), strict=True)
    )
    differs = [name for name, both in (("result", results), ("class", classes)) if both[0] != both[1]]
    figures = {"live": live, "shadow": beside, "dice": dice, "centres_mm": dice and 3.0, "differs": differs}
    compared = Comparison(
        shadow_job_id=number, live_job_id=number - 1, compared_at=1.0, is_disagreement=bool(differs), figures=figures
    )
    return Pair(compared, route, "virtual_biopsy", "1.2.3", "1.2")


PAIRS = [
    _pair(2, (FOUND, FOUND), ("Glioma", "Glioma"), 0.9),
    _pair(4, (FOUND, FOUND), ("Glioma", "PCNSL"), 0.7),
    _pair(6, (FOUND, NOTHING), ("PCNSL", None), 0.5),
    _pair(8, (NOTHING, NOTHING), (None, None), None),
]


def test_agreement_and_kappa_are_those_counted_by_hand() -> None:
    (summary,) = shadow.summaries(PAIRS)

    assert (summary["pairs"], summary["disagreements"]) == (4, 2)
    assert summary["result_agreement"] == 0.75
    assert summary["result_kappa"] == 0.5  # 3/4 equal; by chance 3/4 * 2/4 + 1/4 * 2/4 = 1/2
    assert (summary["class_agreement"], summary["class_kappa"]) == (0.5, 0.0)  # by chance 1 * 1/2
    assert (summary["median_dice"], summary["median_centres_mm"]) == (0.7, 3.0)
    assert (summary["median_seconds_live"], summary["median_seconds_shadow"]) == (10.0, 30.0)


def test_kappa_is_silent_where_each_gave_one_answer_only() -> None:
    (summary,) = shadow.summaries([_pair(2, (FOUND, FOUND), ("Glioma", "Glioma"), 1.0)] * 3)

    assert (summary["result_agreement"], summary["result_kappa"]) == (1.0, None)


def test_each_shadow_route_has_its_own_summary() -> None:
    other = _pair(10, (FOUND, FOUND), (None, None), 1.0, route="another")

    assert [one["route"] for one in shadow.summaries([*PAIRS, other])] == ["another", "trial"]


@pytest.mark.parametrize(("side", "said"), [("live", "Glioma"), ("shadow", "PCNSL")])
def test_a_row_names_both_sides(side: str, said: str) -> None:
    row = shadow.row(PAIRS[1])

    assert row[side]["class"] == said
    assert shadow.brief(row)["class"] == "Glioma / PCNSL"
