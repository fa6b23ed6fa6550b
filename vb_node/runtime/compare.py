"""What turns beside the worker: lays each result of a shadow route beside the live one, and writes down how they agree.

Only figures are kept, so the files may go with their study; nothing is sent.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from storage import comparisons
from storage.database import Database
from storage.schema import Job
from storage.spool import Spool
from vb_node.dicom.read import DAMAGE
from vb_node.dicom.series import arrange
from vb_node.dicom.tracking import placed
from vb_node.errors import BadResult, NodeError
from vb_node.pipeline.agreement import Agreement, agreement
from vb_node.pipeline.summary import numbers
from vb_node.runtime.work import SEG_ROLE
from vb_node.tell.pause import Pause
from vb_node.types import Grid, Labels

log = logging.getLogger(__name__)

LOOK_S = 15.0
LEAST_DICE = 0.5
"""Less than half in common is another lesion, or another extent, than one would treat alike."""
UNDETERMINED = "undetermined"


class Comparer:
    """Compares one shadow job a step."""

    def __init__(self, database: Database, spool: Spool, results: Path) -> None:
        self.database, self.spool, self.results = database, spool, results
        self._pause = Pause()

    def step(self, now: float) -> bool:
        """Compare one shadow job with its live one; give False if none is due."""
        if self._pause.holds(now):
            return False
        with self.database.read() as session:
            shadow = comparisons.due(session)
            live = shadow and comparisons.counterpart(session, shadow)
        if shadow is None:
            self._pause.begin(now, LOOK_S)
            return False
        figures = self._figures(shadow, live)
        differs = bool(figures["differs"])
        with self.database.write() as session:
            comparisons.record(session, shadow, live, figures, is_disagreement=differs, now=now)
        log.info("shadow compared", extra={"job": shadow.id, "live": live and live.id, "differs": figures["differs"]})
        return True

    def _figures(self, shadow: Job, live: Job | None) -> dict[str, Any]:
        if live is None:
            return {"differs": [], "why": "no live job of the same images has ended"}
        said = {"live": given(live), "shadow": given(shadow)}
        try:
            masks, why = self._masks(shadow, live), {}
        except (NodeError, *DAMAGE) as error:
            reason = str(error) if isinstance(error, NodeError) else f"a file cannot be read ({type(error).__name__})"
            masks, why = Agreement(None, None), {"why": reason}
        figures = {"dice": _short(masks.dice), "centres_mm": _short(masks.centres_mm)}
        return said | figures | why | {"differs": differences(said["live"], said["shadow"], masks.dice)}

    def _masks(self, shadow: Job, live: Job) -> Agreement:
        """Lay both segmentations on the grid of their series; raise ``NodeError`` or what damage raises."""
        inputs = [self.spool.path_of(one.sop_instance_uid, one.sha256) for one in shadow.inputs]
        if SEG_ROLE not in {one.role for job in (shadow, live) for one in job.results}:
            return Agreement(None, None)
        grid = arrange(inputs).grid
        return agreement(self._labels(live, grid), self._labels(shadow, grid), grid)

    def _labels(self, job: Job, grid: Grid) -> Labels:
        file = next((one.path for one in job.results if one.role == SEG_ROLE), None)
        if file is None:
            return np.zeros(grid.shape, np.uint8)
        labels = placed(dcmread(self.results / file), grid)
        if not labels.any():
            raise BadResult(f"the segmentation of job {job.id} does not stand on the grid of its series")
        return labels


def given(job: Job) -> dict[str, Any]:
    """Give what is compared of a job: of its outcome what each application may say, by the words of ours."""
    outcome = job.outcome or {}
    lesions = [one for one in outcome.get("lesions") or () if isinstance(one, Mapping)]
    return {
        "result": outcome.get("state") or job.reason or job.state,
        "confidence": numbers(outcome).get("confidence"),
        "class": _class(outcome),
        "probabilities": numbers(outcome.get("probabilities")),
        "lesions": len(lesions),
        "volume_ml": round(sum(numbers(lesion).get("volume_mm3", 0.0) for lesion in lesions) / 1000, 2),
        "seconds": round(sum(numbers(outcome.get("seconds")).values()), 1),
    }


def differences(live: Mapping[str, Any], shadow: Mapping[str, Any], dice: float | None) -> list[str]:
    """Name what two results do not agree on: result, class, lesion."""
    apart = [name for name in ("result", "class") if live[name] != shadow[name]]
    return [*apart, "lesion"] if dice is not None and dice < LEAST_DICE else apart


def _class(outcome: Mapping[str, Any]) -> str | None:
    probabilities = numbers(outcome.get("probabilities"))
    if not probabilities:
        return None
    return max(probabilities, key=probabilities.__getitem__) if outcome.get("is_determined") else UNDETERMINED


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
