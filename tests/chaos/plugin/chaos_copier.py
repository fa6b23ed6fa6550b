"""A light application for the chaos rig: two copies of a series' first instance, or a refusal, by the job's key.

Every fourth job takes long enough for a frozen worker to lose its lease to another one; two workers keep up with the
senders.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom import Dataset, dcmread

from vb_node.config import Settings
from vb_node.dicom import uid
from vb_node.errors import BadGeometry, Unfit
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.select import Choice

SHORT_S, LONG_S, PIECES = 0.2, 3.0, 20
REFUSED_OF, LONG_OF = 5, 4


class Copier:
    """Works by the job's key alone, so that a job done twice must give the same bytes."""

    name, version = "chaos_copier", "1"

    def plan(self, _settings: Settings) -> dict[str, Any]:
        return {}

    def select(self, study: Sequence[Candidate], _plan: Mapping[str, Any]) -> list[Choice]:
        return [Choice(str(candidate.header.SeriesInstanceUID), True, 1.0, "all") for candidate in study]

    def run(self, case: Case) -> Outcome:
        number = int(case.job_key, 16)
        if number % REFUSED_OF == 0:
            raise BadGeometry("the chaos rig refuses every fifth job")
        for piece in range(PIECES):
            time.sleep((LONG_S if number % LONG_OF == 0 else SHORT_S) / PIECES)
            case.progress("copy", piece / PIECES)
        return Outcome((("FIRST", _copy(case, "FIRST")), ("SECOND", _copy(case, "SECOND"))), {"state": "copied"})

    def refuse(self, case: Case, _error: Unfit) -> Outcome:
        return Outcome((("REFUSAL", _copy(case, "REFUSAL")),), {"state": "refused"})


def _copy(case: Case, role: str) -> Dataset:
    copy = dcmread(case.paths[0])
    copy.SeriesInstanceUID = uid.derive(case.lineage_key, f"{role} series")
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = uid.derive(case.job_key, role)
    copy.ContentDate, copy.ContentTime = case.created.strftime("%Y%m%d"), case.created.strftime("%H%M%S")
    return copy


application = Copier()
