"""When a study is whole."""

import pytest

from storage.schema import Series
from vb_node.config import AssembleSettings
from vb_node.runtime.evidence import OpenStudy, evidences


def _study(
    last_arrival_at: float, opened_at: float = 100.0, listening_since: float = 50.0, heard_at: float = 2000.0
) -> OpenStudy:
    return OpenStudy([Series(opened_at=opened_at, last_arrival_at=last_arrival_at)], listening_since, heard_at)


def _spoken(study: OpenStudy, now: float) -> str | None:
    settings = AssembleSettings(quiet_s=10, force_after_s=1000)
    return next((word for speak in evidences(settings) if (word := speak(study, now))), None)


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
