"""The walk of one case: read, process, localise, diagnose, report.

The steps that need torch are imported when a case is run: selection and the listener start without it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydicom import Dataset

from vb_node import __version__
from vb_node.config import Settings
from vb_node.dicom import check, key_image, seg, sr
from vb_node.dicom.provenance import Provenance
from vb_node.dicom.read import read_header
from vb_node.dicom.sr_content import lesion_name, shown
from vb_node.dicom.volume import load_series
from vb_node.errors import ConfigError, Unfit
from vb_node.models import pins
from vb_node.pipeline import rule
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.measure import measure
from vb_node.pipeline.resample import labels_to_grid
from vb_node.pipeline.select import Choice, select, summarise
from vb_node.types import Diagnosis, Finding, Labels, Prior, Series, StandardVolume, Volume

ALGORITHM = "Virtual Biopsy"
NO_CONTRAST_NOTE = (
    "The header holds no evidence of contrast; the series was analysed because the site or an operator asked for it."
)


class VirtualBiopsy:
    """The application; one object keeps its models loaded from case to case."""

    name = "virtual_biopsy"
    version = __version__

    def __init__(self) -> None:
        self._diagnosers: dict[str, Any] = {}

    def plan(self, settings: Settings) -> dict[str, Any]:
        """Give the settings of ``[virtual_biopsy]`` and the digests of the weights."""
        rule.parse(settings.virtual_biopsy.contrast_when)
        return settings.virtual_biopsy.model_dump() | {"weights": pins.digests()}

    def select(self, study: Sequence[Candidate], plan: Mapping[str, Any]) -> list[Choice]:
        """Take the T1 contrast-enhanced brain series of a study, if it has one."""
        is_contrast = rule.parse(plan["contrast_when"]) if plan["contrast_when"] else lambda _header: False
        headers = [
            replace(summarise(candidate.header, candidate.instances), is_contrast_by_rule=is_contrast(candidate.header))
            for candidate in study
        ]
        return select(headers, must_have_contrast=plan["must_have_contrast"])

    def run(self, case: Case) -> Outcome:
        """Work on one series; raise ``Unfit`` with the reason when it cannot be analysed."""
        if case.plan["weights"] != pins.digests():
            raise ConfigError("the weights are others than when the job was scheduled: send the study again")
        clock = _Clock(case.progress)
        with clock.step("read", 0.0):
            series, volume = load_series(case.paths)
        with clock.step("process", 0.05):
            standard = self._process(volume)
        with clock.step("localise", 0.5):
            prior = self._localise(standard)
        with clock.step("diagnose", 0.8):
            diagnosis = self._diagnose(standard, prior, case.device)
        with clock.step("report", 0.9):
            objects, findings = _report(case, series, volume, standard, prior, diagnosis)
        return Outcome(tuple(objects), _summary(standard, prior, diagnosis, findings) | {"seconds": clock.seconds})

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        """Write the report "not analysed"; it needs headers that can be read, and no more."""
        headers = [header for path in case.paths if (header := _header(path)) is not None]
        if not headers:
            return Outcome((), {"state": "not analysed", "reason": error.reason})
        report = sr.write_not_analysed(headers, error, _provenance(case))
        check.check_not_analysed(headers, report)
        return Outcome(((sr.ROLE, report),), {"state": "not analysed", "reason": error.reason})

    def _process(self, volume: Volume) -> StandardVolume:
        from vb_node.applications.virtual_biopsy.process import process  # late: SimpleITK and the atlas

        return process(volume)

    def _localise(self, standard: StandardVolume) -> Prior:
        from vb_node.applications.virtual_biopsy.localise import localise  # late: torch

        return localise(standard)

    def _diagnose(self, standard: StandardVolume, prior: Prior, device: str) -> Diagnosis:
        from vb_node.applications.virtual_biopsy.diagnose import Diagnoser  # late: torch
        from vb_node.models.device import choose  # late: torch

        device = choose(device)
        if device not in self._diagnosers:
            self._diagnosers[device] = Diagnoser.load(device)
        diagnosis: Diagnosis = self._diagnosers[device].diagnose(standard, prior)
        return diagnosis


def _report(
    case: Case, series: Series, volume: Volume, standard: StandardVolume, prior: Prior, diagnosis: Diagnosis
) -> tuple[list[tuple[str, Dataset]], list[Finding]]:
    """Carry the prior back to the source's grid, measure it there, and write and check the objects."""
    provenance = _provenance(case)
    labels: Labels = labels_to_grid(prior.labels, standard.grid, series.grid)
    findings = measure(labels, series.grid, prior.regions, standard.atlas_from_patient)
    names = {finding.label: lesion_name(finding) for finding in findings}
    segmentation = seg.write_seg(series, labels, provenance, names) if findings else None
    notes = [*standard.flags, *prior.notes, *_contrast_note(series)]
    report = sr.write_report(series, findings, prior, diagnosis, segmentation, provenance, notes)
    check.check_result(series, labels, report, segmentation)
    objects = [(seg.ROLE, segmentation)] if segmentation is not None else []
    objects.append((sr.ROLE, report))
    if case.plan["key_image"]:
        lines = [_localisation_line(prior), _diagnosis_line(diagnosis)]
        picture = key_image.write_key_image(series, volume.voxels, findings, lines, provenance)
        check.check_key_image(series, picture)
        objects.append((key_image.ROLE, picture))
    return objects, findings


def _contrast_note(series: Series) -> list[str]:
    header = summarise(series.headers[0], len(series.headers))
    return [] if select([header])[0].is_taken else [NO_CONTRAST_NOTE]


def _provenance(case: Case) -> Provenance:
    settings = {key: value for key, value in case.plan.items() if key != "weights"}
    return Provenance(
        job_key=case.job_key,
        lineage_key=case.lineage_key,
        created=case.created,
        device_serial_number=case.device_serial_number,
        software_version=__version__,
        algorithm_name=ALGORITHM,
        algorithm_version=__version__,
        weights=tuple(sorted(case.plan["weights"].items())),
        parameters=json.dumps(settings, sort_keys=True),
        predecessor=case.predecessor,
    )


def _summary(
    standard: StandardVolume, prior: Prior, diagnosis: Diagnosis, findings: Sequence[Finding]
) -> dict[str, Any]:
    return {
        "state": prior.state,
        "confidence": round(prior.confidence, 3),
        "lesions": [
            {"volume_mm3": round(finding.volume_mm3, 1), "score": round(finding.score, 3)} for finding in findings
        ],
        "probabilities": {name: round(value, 4) for name, value in diagnosis.probabilities.items()},
        "is_determined": diagnosis.is_determined,
        "diagnosis_reason": diagnosis.reason,
        "novelty": diagnosis.novelty,
        "quality": {name: round(float(value), 4) for name, value in standard.quality.items()},
        "flags": list(standard.flags),
    }


def _localisation_line(prior: Prior) -> str:
    return f"Tumour prior: {prior.state}, confidence {shown(prior.confidence):.2f} (not calibrated)"


def _diagnosis_line(diagnosis: Diagnosis) -> str:
    if not diagnosis.is_determined:
        return "Class: not determined"
    name, probability = max(diagnosis.probabilities.items(), key=lambda item: item[1])
    return f"Class by synthetic-data weights: {name} {100 * probability:.0f} %"


def _header(path: Any) -> Dataset | None:
    try:
        return read_header(path)
    except Unfit:
        return None


class _Clock:
    """Tells the progress of each step and keeps its seconds."""

    def __init__(self, progress: Callable[[str, float], None]) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, fraction: float) -> Iterator[None]:
        self.progress(name, fraction)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)
