"""When a study is whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schema import Association, Series
from vb_node.config import AssembleSettings
from vb_node.dicom.glance import Glance
from vb_node.runtime.evidence import OpenStudy, evidences

SETTINGS = AssembleSettings(quiet_s=10, settle_s=2, force_after_s=1000, ask="pacs")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _slice(place: float, expected: int | None = None) -> Glance:
    return Glance(
        is_image=True,
        orientation=AXIAL,
        position_lps=(0.0, 0.0, place),
        thickness_mm=1.0,
        images_in_acquisition=expected,
    )


def _association(ended_at: float | None = None, is_released: bool = True) -> Association:
    return Association(id="a", peer="MR1", host="h", began_at=100.0, ended_at=ended_at, is_released=is_released)


def _study(
    last_arrival_at: float = 110.0,
    opened_at: float = 100.0,
    listening_since: float = 50.0,
    heard_at: float = 2000.0,
    associations: Sequence[Association] = (),
    slices: Sequence[Glance] = (),
    counted: Mapping[str, int] | None = None,
) -> OpenStudy:
    series = Series(
        series_instance_uid="1.1", opened_at=opened_at, last_arrival_at=last_arrival_at, instances=len(slices)
    )
    known = {"associations": associations, "is_all_known": bool(associations), "glances": {"1.1": slices}}
    return OpenStudy([series], listening_since, heard_at, counted=counted or {}, **known)


def _spoken(study: OpenStudy, now: float) -> str | None:
    return next((words for speak in evidences(SETTINGS) if (words := speak(study, now))), None)


@pytest.mark.parametrize(("now", "is_whole"), [(109.0, False), (119.0, False), (121.0, True)])
def test_a_study_is_whole_when_it_has_been_quiet(now: float, is_whole: bool) -> None:
    assert (_spoken(_study(last_arrival_at=110.0), now) is not None) is is_whole


def test_the_last_arrival_of_any_series_counts() -> None:
    study = OpenStudy([*_study(110.0).series, *_study(150.0).series], 50.0, 2000.0)

    assert _spoken(study, 130.0) is None
    assert _spoken(study, 161.0) is not None


def test_a_listener_that_was_restarted_in_mid_series_must_be_up_first() -> None:
    study = _study(last_arrival_at=110.0, opened_at=100.0, listening_since=115.0)

    assert _spoken(study, 144.0) is None
    assert _spoken(study, 146.0) is not None


def test_the_silence_of_a_dead_listener_proves_nothing() -> None:
    assert _spoken(_study(last_arrival_at=110.0, heard_at=112.0), 140.0) is None


def test_only_silence_that_the_listener_lived_to_hear_counts() -> None:
    assert _spoken(_study(last_arrival_at=110.0, heard_at=119.0), 121.0) is None
    assert _spoken(_study(last_arrival_at=110.0, heard_at=120.5), 121.0) is not None


def test_a_series_that_never_falls_quiet_is_forced_and_says_so() -> None:
    study = _study(last_arrival_at=1099.0)

    assert "forced" in str(_spoken(study, 1101.0))


def test_hours_in_which_nobody_listened_force_nothing() -> None:
    study = _study(last_arrival_at=5000.0, opened_at=100.0, listening_since=4990.0, heard_at=9000.0)
    dead = _study(last_arrival_at=110.0, opened_at=100.0, listening_since=50.0, heard_at=111.0)

    assert _spoken(study, 5001.0) is None
    assert "forced" in str(_spoken(replace(study, associations=[_association(None)]), 5991.0))
    assert _spoken(dead, 5000.0) is None
    assert "forced" in str(_spoken(dead, 24_101.0))


def test_a_release_with_the_count_of_the_headers_closes_at_once() -> None:
    slices = [_slice(float(place), expected=4) for place in range(4)]

    whole = _study(associations=[_association(110.0)], slices=slices)
    cut = _study(associations=[_association(110.0)], slices=slices[:3])

    assert _spoken(whole, 110.01) == "released by MR1, 4 instances as the headers count"
    assert _spoken(cut, 111.9) is None


def test_a_release_with_the_count_of_the_pacs_closes_at_once() -> None:
    slices = [_slice(float(place)) for place in range(4)]

    whole = _study(associations=[_association(110.0)], slices=slices, counted={"1.1": 4})
    cut = _study(associations=[_association(110.0)], slices=slices, counted={"1.1": 5})

    assert _spoken(whole, 110.01) == "released by MR1, 4 instances as pacs counts"
    assert _spoken(cut, 111.9) is None


def test_unbroken_geometry_shortens_the_wait_and_does_not_end_it() -> None:
    study = _study(associations=[_association(110.0)], slices=[_slice(float(place)) for place in range(4)])

    assert _spoken(study, 111.9) is None
    assert _spoken(study, 112.1) == "released by MR1, unbroken geometry, quiet for 2 s"


def test_a_gap_waits_for_the_whole_quiet_time() -> None:
    study = _study(associations=[_association(110.0)], slices=[_slice(float(place)) for place in (0, 1, 3, 4)])

    assert _spoken(study, 119.9) is None
    assert _spoken(study, 120.1) == "quiet for 10 s"


def test_a_release_after_each_instance_does_not_close_a_series_that_still_comes() -> None:
    first = _study(associations=[_association(110.0)], slices=[_slice(0.0, expected=1)])
    several = _study(
        associations=[_association(109.0), _association(110.0)], slices=[_slice(float(k)) for k in range(3)]
    )

    assert _spoken(first, 111.9) is None
    assert _spoken(several, 111.9) is None


def test_nothing_closes_a_study_that_is_arriving_but_force() -> None:
    slices = [_slice(float(place), expected=4) for place in range(4)]
    study = _study(associations=[_association(None, is_released=False)], slices=slices, counted={"1.1": 4})

    assert _spoken(study, 900.0) is None
    assert "forced" in str(_spoken(study, 1101.0))


def test_an_aborted_sender_has_three_times_the_quiet_time_to_come_again() -> None:
    slices = [_slice(float(place), expected=4) for place in range(4)]
    study = _study(associations=[_association(110.0, is_released=False)], slices=slices, counted={"1.1": 4})

    assert _spoken(study, 139.9) is None
    assert _spoken(study, 140.1) == "quiet for 30 s"


def test_after_a_restart_in_mid_series_geometry_is_not_believed() -> None:
    slices = [_slice(float(place)) for place in range(4)]
    study = _study(listening_since=105.0, associations=[_association(110.0)], slices=slices)

    assert _spoken(study, 119.0) is None


@dataclass(frozen=True)
class _Sent:
    """One instance of a simulated study: its series, its place, and the pause before it."""

    series: int
    place: int
    pause_s: float
    is_last_of_association: bool
    is_released: bool


@st.composite
def _sendings(draw: st.DrawFn) -> tuple[list[int], list[_Sent]]:
    sizes = draw(st.lists(st.integers(2, 6), min_size=1, max_size=3))
    order = draw(st.permutations([(series, place) for series, size in enumerate(sizes) for place in range(size)]))
    pauses = st.sampled_from([0.0, 0.1, 1.0, 1.9, 2.5, 9.0, 12.0])
    return sizes, [
        _Sent(series, place, draw(pauses), draw(st.booleans()), draw(st.integers(0, 4)) > 0) for series, place in order
    ]


@given(_sendings(), st.sampled_from(["headers", "pacs", "nobody"]))
def test_a_study_is_never_closed_while_promised_instances_are_missing(
    sending: tuple[list[int], list[_Sent]], counts_by: str
) -> None:
    sizes, order = sending
    now, ids = 100.0, count()
    arrived: dict[int, list[_Sent]] = {}
    associations: list[Association] = []

    for sent in order:
        if arrived:
            _check(_as_study(arrived, sizes, associations, counts_by, now), sizes, now + sent.pause_s, counts_by)
        now += sent.pause_s
        if not associations or associations[-1].ended_at is not None:
            associations.append(_association(None, is_released=False))
            associations[-1].id = str(next(ids))
        arrived.setdefault(sent.series, []).append(sent)
        if sent.is_last_of_association:
            associations[-1].ended_at, associations[-1].is_released = now, sent.is_released
        arrived[sent.series][-1] = replace(sent, pause_s=now)  # from here on: when it came


def _as_study(
    arrived: Mapping[int, Sequence[_Sent]],
    sizes: Sequence[int],
    associations: Sequence[Association],
    counts_by: str,
    now: float,
) -> OpenStudy:
    series = [
        Series(
            series_instance_uid=str(number),
            opened_at=100.0,
            last_arrival_at=max(sent.pause_s for sent in come),
            instances=len(come),
        )
        for number, come in arrived.items()
    ]
    glances = {
        str(number): [_slice(sent.place, sizes[number] if counts_by == "headers" else None) for sent in come]
        for number, come in arrived.items()
    }
    counted = {str(number): size for number, size in enumerate(sizes)} if counts_by == "pacs" else {}
    return OpenStudy(series, 0.0, now + 100, tuple(associations), True, glances, counted)


def _check(study: OpenStudy, sizes: Sequence[int], now: float, counts_by: str) -> None:
    """Whatever closes a study at this moment keeps its promise."""
    words = _spoken(study, now) or ""
    idle_s = now - max(series.last_arrival_at for series in study.series)
    if words:
        assert all(association.ended_at is not None for association in study.associations)
    if "instances as" in words:
        assert counts_by != "nobody"
        assert {one.series_instance_uid: one.instances for one in study.series} == {
            one.series_instance_uid: sizes[int(one.series_instance_uid)] for one in study.series
        }
    if "unbroken" in words:
        assert idle_s >= SETTINGS.settle_s
        for glances in study.glances.values():
            places = sorted(seen.position_lps[2] for seen in glances if seen.position_lps)
            assert places == [places[0] + k for k in range(len(places))]
    if words.startswith("quiet"):
        assert idle_s >= SETTINGS.quiet_s
