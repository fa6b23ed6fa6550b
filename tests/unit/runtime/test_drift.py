"""Scores of a route that are distributed as before, and such as are not."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from empty_ledger import empty_ledger

from storage import drift
from storage.database import Database
from storage.drift import Ended
from storage.schema import Drift, Job
from vb_node.config import DriftSettings
from vb_node.runtime.drift import DAY_S, LOOK_S, DriftWatch, distances, scores_of

NOW = 100 * DAY_S
A_DAY = 15


def _jobs(recent: float, reference: float, days: int = 60, route: str = "brains", version: str = "1") -> list[Ended]:
    """Make jobs of so many days, newest first, whose confidence lies about one value lately and another before."""
    chance = np.random.default_rng(7)
    ages = [day + (k + 0.5) / A_DAY for day in range(days) for k in range(A_DAY)]
    return [
        Ended(
            route,
            "virtual_biopsy",
            version,
            {"localizer": "classical"},
            NOW - age * DAY_S,
            {"confidence": float(np.clip(chance.normal(recent if age < 7 else reference, 0.1), 0, 1))},
        )
        for age in ages
    ]


def _drifts(jobs: Iterable[Ended], before: Sequence[tuple[str, str]] = ()) -> dict[tuple[str, str], bool]:
    return {(one.route, one.score): one.is_drift for one in distances(jobs, DriftSettings(), before, NOW)}


def test_scores_as_before_are_no_drift() -> None:
    assert _drifts(_jobs(0.7, 0.7)) == {("brains", "confidence"): False}


def test_scores_that_fell_are_drift_with_their_distance_and_counts() -> None:
    (found,) = distances(_jobs(0.6, 0.7), DriftSettings(), (), NOW)

    assert (found.is_drift, found.recent, found.reference) == (True, 7 * A_DAY, 53 * A_DAY)
    assert 0.3 < found.distance < 0.6
    assert found.p_value < 1e-6


def test_of_too_few_results_nothing_is_said() -> None:
    assert _drifts(_jobs(0.2, 0.7)[: 7 * A_DAY + 49]) == {}


def test_another_version_begins_anew() -> None:
    new = _jobs(0.4, 0.4, days=7, version="2")
    old = [one for one in _jobs(0.7, 0.7) if one.finished_at < NOW - 7 * DAY_S]

    assert _drifts([*new, *old]) == {}


def test_each_route_is_judged_by_its_own() -> None:
    found = _drifts([*_jobs(0.6, 0.7), *_jobs(0.3, 0.3, route="trial")])

    assert found == {("brains", "confidence"): True, ("trial", "confidence"): False}


def test_what_drifts_is_called_so_until_it_is_clearly_over() -> None:
    weak = _jobs(0.68, 0.7)

    assert _drifts(weak) == {("brains", "confidence"): False}
    assert _drifts(weak, [("brains", "confidence")]) == {("brains", "confidence"): True}


def test_the_scores_of_a_result_are_its_confidence_novelty_and_probabilities() -> None:
    outcome = {"confidence": 0.5, "novelty": None, "probabilities": {"Glioma": 0.9}, "state": "localised"}

    assert scores_of(outcome) == {"confidence": 0.5, "probability Glioma": 0.9}
    assert scores_of({"state": "copied"}) == {}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return empty_ledger(tmp_path / "ledger.db")


def _job(number: int, one: Ended) -> Job:
    words = {"series_instance_uid": f"1.{number}", "study_instance_uid": "1", "patient_id": "", "accession_number": ""}
    words |= {"key": str(number), "closed_by": "", "destinations": [], "state": "COMPLETED", "created_at": 1.0}
    return Job(**words, **one._asdict())


def test_it_is_written_down_once_an_hour_and_stays_while_it_is_so(database: Database) -> None:
    with database.write() as session:
        session.add_all(_job(number, one) for number, one in enumerate(_jobs(0.6, 0.7)))
    watch = DriftWatch(database, DriftSettings())

    for seconds in (0.0, LOOK_S - 1, LOOK_S):
        watch.step(NOW + seconds)

    with database.read() as session:
        found: Sequence[Drift] = drift.listing(session)
    assert [(one.route, one.is_drift, one.at) for one in found] == [("brains", True, NOW + LOOK_S)]
    database.close()
