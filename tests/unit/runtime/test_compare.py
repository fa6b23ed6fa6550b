"""Live and shadow results of one series, worked by a plug-in that paints where its settings say, and then compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid
from results import provenance
from stations import House, series_of

from storage import comparisons
from storage.schema import Comparison
from vb_node.config import Settings, WorkSettings
from vb_node.dicom.seg import write_seg
from vb_node.dicom.series import arrange
from vb_node.errors import Unfit
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.select import Choice
from vb_node.runtime.compare import Comparer
from vb_node.runtime.work import Worker

LATER = 1e12
FIRST_SLICE = {"classical": 4, "network": 6}
SAID = {"probabilities": {"Glioma": 0.8, "PCNSL": 0.2}, "is_determined": True, "seconds": {"read": 2.5}}


class Painter:
    """An application that segments four slices, from another one on by each localizer; one finds nothing."""

    name, version = "painter", "1"

    def plan(self, settings: Settings) -> dict[str, Any]:
        return {"localizer": settings.virtual_biopsy.localizer}

    def select(self, study: Sequence[Candidate], _plan: Mapping[str, Any]) -> list[Choice]:
        return [Choice(str(candidate.header.SeriesInstanceUID), True, 1.0, "all") for candidate in study]

    def run(self, case: Case) -> Outcome:
        series, first = arrange(case.paths), FIRST_SLICE.get(case.plan["localizer"])
        if first is None:
            return Outcome((), {"state": "not localised", "seconds": {"read": 2.5}})
        labels = np.zeros(series.grid.shape, np.uint8)
        labels[first : first + 4, 5:9, 5:9] = 1
        told = replace(provenance(case.job_key), lineage_key=case.lineage_key)
        segmentation = write_seg(series, labels, told, {1: "one"})
        found = {"state": "localised", "confidence": 0.7, "lesions": [{"volume_mm3": 2500.0}]}
        return Outcome((("SEG", segmentation),), SAID | found)

    def refuse(self, _case: Case, error: Unfit) -> Outcome:
        return Outcome((), {"state": "not analysed", "reason": error.reason})


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Comparison]:
    """Work on a series by a live and a shadow route, and give what the comparison says."""

    def make(localizer: str, damage: Callable[[], None] = lambda: None) -> Comparison:
        routes = [
            {"name": "live", "application": "painter"},
            {"name": "trial", "application": "painter", "shadow": True, "virtual_biopsy": {"localizer": localizer}},
        ]
        painter, results = {"painter": Painter()}, tmp_path / "results"
        house = House(tmp_path, painter, routes=routes, virtual_biopsy={"localizer": "classical"})
        house.send(series_of(generate_uid()))
        house.assemble()
        worker = Worker(house.database, house.spool, results, painter, WorkSettings(), "s")
        assert [worker.step(LATER) for _ in range(3)] == [True, True, False]
        damage()
        comparer = Comparer(house.database, house.spool, results)
        assert [comparer.step(LATER) for _ in range(2)] == [True, False]
        with house.database.read() as session:
            (pair,) = comparisons.listing(session)
        house.database.close()
        return pair.comparison

    return make


def test_two_lesions_that_share_half_are_told_with_dice_and_distance(compare: Callable[..., Comparison]) -> None:
    found = compare("network")

    assert found.figures["dice"] == pytest.approx(0.5)
    assert found.figures["centres_mm"] == pytest.approx(10.0)
    assert (found.is_disagreement, found.figures["differs"]) == (False, [])
    assert found.figures["live"] == {
        "result": "localised",
        "confidence": 0.7,
        "class": "Glioma",
        "probabilities": {"Glioma": 0.8, "PCNSL": 0.2},
        "lesions": 1,
        "volume_ml": 2.5,
        "seconds": 2.5,
    }


def test_a_lesion_that_only_the_live_route_finds_is_a_disagreement(compare: Callable[..., Comparison]) -> None:
    found = compare("auto")

    assert found.is_disagreement
    assert found.figures["dice"] == 0.0
    assert found.figures["differs"] == ["result", "class", "lesion"]


def test_a_segmentation_that_is_gone_is_said_and_stops_nothing(
    compare: Callable[..., Comparison], tmp_path: Path
) -> None:
    def lose() -> None:
        for file in (tmp_path / "results").rglob("*.dcm"):
            file.unlink()

    found = compare("network", lose)

    assert found.figures["dice"] is None
    assert "FileNotFoundError" in found.figures["why"]
