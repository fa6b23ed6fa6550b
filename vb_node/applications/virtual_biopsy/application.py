"""The walk of one case: read, process, localise, diagnose, report.

The steps, with torch and other heavy libraries, are imported when a case is run: selection starts without them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydicom import Dataset

from vb_node import __version__
from vb_node.applications.virtual_biopsy.choice import files, identify, identify_diagnoser
from vb_node.config import Settings, VirtualBiopsySettings
from vb_node.dicom.read import read_header
from vb_node.dicom.volume import load_series
from vb_node.errors import ConfigError, Unfit
from vb_node.models import pins
from vb_node.pipeline import rule
from vb_node.pipeline.application import Candidate, Case, Outcome
from vb_node.pipeline.select import Choice, select, summarise
from vb_node.types import Diagnosis, Prior, Series, StandardVolume, Volume

if TYPE_CHECKING:
    from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
    from vb_node.applications.virtual_biopsy.localizer import Localizer
    from vb_node.applications.virtual_biopsy.report import Report


class VirtualBiopsy:
    """The application; one object keeps its models loaded from case to case."""

    name = "virtual_biopsy"
    version = __version__

    def __init__(self) -> None:
        self._diagnosers: dict[tuple[str, ...], Diagnoser] = {}
        self._localizer: Localizer | None = None

    def plan(self, settings: Settings) -> dict[str, Any]:
        """Give the settings of ``[virtual_biopsy]`` and the digests of weights and prompts; raise ``ConfigError``."""
        return _plan(settings.virtual_biopsy, _bundles(settings))

    def reads(self, settings: Settings) -> tuple[Path, ...]:
        """Name what a run reads beside its case: the files of a model and the weights of the site's."""
        return (*files(settings.virtual_biopsy), *_bundles(settings).values())

    def select(self, study: Sequence[Candidate], plan: Mapping[str, Any]) -> list[Choice]:
        """Take the T1 contrast-enhanced brain series of a study, if it has one."""
        is_contrast = rule.parse(plan["contrast_when"]) if plan["contrast_when"] else lambda _header: False
        headers = [
            replace(summarise(candidate.header, candidate.instances), is_contrast_by_rule=is_contrast(candidate.header))
            for candidate in study
        ]
        return select(headers, must_have_contrast=plan["must_have_contrast"])

    def warm(self, plan: Mapping[str, Any], device: str) -> None:
        """Load libraries, atlas, writers, and the models of a plan, so that the first case waits for none of them."""
        from vb_node.applications.virtual_biopsy import report  # noqa: F401  late: highdicom and the writers
        from vb_node.pipeline.registration import load_template  # late: the atlas

        load_template()
        self._detectors().load(_settings(plan), device, _folders(plan).get("localizer"))
        self._diagnoser(plan, device).rehearse()

    def run(self, case: Case) -> Outcome:
        """Work on one series; raise ``Unfit`` with the reason when it cannot be analysed."""
        settings = _settings(case.plan)
        clock = _Clock(case.progress)
        with clock.step("read", 0.0):
            series, volume = load_series(case.paths)
        with clock.step("process", 0.05):
            standard = self._process(volume)
        with clock.step("localise", 0.5):
            prior, said = self._localise(standard, settings, case)
        with clock.step("diagnose", 0.8):
            diagnosis = self._diagnose(standard, prior, case)
        with clock.step("report", 0.9):
            report = self._report(case, series, volume, standard, prior, diagnosis)
        summary = _summary(standard, prior, diagnosis, report) | said | {"seconds": clock.seconds}
        return Outcome(tuple(report.objects), summary)

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        """Write the report "not analysed"; it needs headers that can be read, and no more."""
        headers = [header for path in case.paths if (header := _header(path)) is not None]
        if not headers:
            return Outcome((), {"state": "not analysed", "reason": error.reason})
        from vb_node.applications.virtual_biopsy.report import refuse  # late: highdicom and the writers

        report = refuse(case, headers, error)
        summary = {"state": "not analysed", "reason": error.reason, "sentence": report.sentence}
        return Outcome(tuple(report.objects), summary)

    def _process(self, volume: Volume) -> StandardVolume:
        from vb_node.applications.virtual_biopsy.process import process  # late: SimpleITK and the atlas

        return process(volume)

    def _localise(
        self, standard: StandardVolume, settings: VirtualBiopsySettings, case: Case
    ) -> tuple[Prior, dict[str, Any]]:
        """Give the prior, and for the summary what a vision-language model said."""
        weights = _folders(case.plan).get("localizer")
        return self._detectors().localise(standard, settings, case.device, partial(_within, case.progress), weights)

    def _detectors(self) -> "Localizer":
        from vb_node.applications.virtual_biopsy.localizer import Localizer  # late: torch

        self._localizer = self._localizer or Localizer()
        return self._localizer

    def _diagnose(self, standard: StandardVolume, prior: Prior, case: Case) -> Diagnosis:
        return self._diagnoser(case.plan, case.device).diagnose(standard, prior)

    def _diagnoser(self, plan: Mapping[str, Any], device: str) -> "Diagnoser":
        from vb_node.applications.virtual_biopsy.diagnose import Diagnoser  # late: torch
        from vb_node.models.device import choose  # late: torch

        device, folder = choose(device), _folders(plan).get("diagnoser")
        key = device, str(folder), str(plan["weights"])
        if key not in self._diagnosers:
            self._diagnosers[key] = Diagnoser.load(device, folder)
        return self._diagnosers[key]

    def _report(
        self,
        case: Case,
        series: Series,
        volume: Volume,
        standard: StandardVolume,
        prior: Prior,
        diagnosis: Diagnosis,
    ) -> "Report":
        from vb_node.applications.virtual_biopsy.report import write  # late: highdicom and the writers

        return write(case, series, volume, standard, prior, diagnosis)


def _within(progress: Callable[[str, float], None], share: float) -> None:
    """Tell how far the localisation is, as a part of the whole."""
    progress("localise", 0.5 + 0.3 * share)


def _plan(settings: VirtualBiopsySettings, bundles: Mapping[str, Path]) -> dict[str, Any]:
    rule.parse(settings.contrast_when)
    localizer = identify(settings, bundles.get("localizer"))
    diagnoser = identify_diagnoser(settings, bundles.get("diagnoser"))
    weights = diagnoser["weights"] | localizer["weights"]
    return settings.model_dump(mode="json") | diagnoser | localizer | {"weights": weights}


def _bundles(settings: Settings) -> dict[str, Path]:
    """Give where the site's own weights lie by the network that they are of, if some are named."""
    return {network: pins.site_folder(settings.data, name) for network, name in settings.virtual_biopsy.named.items()}


def _folders(plan: Mapping[str, Any]) -> dict[str, Path]:
    """Give where a plan says that the site's own weights lie; those that are shipped are not among them."""
    return {name: Path(plan[f"{name}_folder"]) for name in ("diagnoser", "localizer") if f"{name}_folder" in plan}


def _settings(plan: Mapping[str, Any]) -> VirtualBiopsySettings:
    """Give the settings of a plan; raise ``ConfigError`` if it would be another one today."""
    known = {name: value for name, value in plan.items() if name in VirtualBiopsySettings.model_fields}
    try:
        settings = VirtualBiopsySettings(**known)
        is_as_planned = _plan(settings, _folders(plan)) == settings.model_dump(mode="json") | dict(plan)
    except ValidationError:
        is_as_planned = False
    if not is_as_planned:
        raise ConfigError("weights or settings are others than when the job was scheduled: send the study again")
    return settings


def _summary(standard: StandardVolume, prior: Prior, diagnosis: Diagnosis, report: "Report") -> dict[str, Any]:
    prior_mm3 = {region.label: 1000 * region.volume_ml for region in prior.regions}
    return {
        "sentence": report.sentence,
        "state": prior.state,
        "confidence": round(prior.confidence, 3),
        "lesions": [
            {
                "volume_mm3": round(finding.volume_mm3, 1),
                "prior_volume_mm3": round(prior_mm3[finding.label], 1),
                "score": round(finding.score, 3),
            }
            for finding in report.findings
        ],
        "probabilities": {name: round(value, 4) for name, value in diagnosis.probabilities.items()},
        "is_determined": diagnosis.is_determined,
        "conformal_set": list(diagnosis.likely),
        "diagnosis_reason": diagnosis.reason,
        "novelty": diagnosis.novelty,
        "quality": {name: round(float(value), 4) for name, value in standard.quality.items()},
        "flags": list(standard.flags),
    }


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
