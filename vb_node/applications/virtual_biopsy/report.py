"""What was found, carried back to the source's grid, measured there, written as objects and checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ParametricMapStorage, SecondaryCaptureImageStorage

from vb_node import __version__
from vb_node.applications.virtual_biopsy.choice import without_places
from vb_node.dicom import (
    bands,
    check,
    check_companions,
    codes,
    document,
    key_image,
    parametric_map,
    seg,
    sentence,
    sr,
    sr_content,
    tracking,
)
from vb_node.dicom.provenance import Provenance
from vb_node.errors import BadResult, Unfit
from vb_node.pipeline.application import Case
from vb_node.pipeline.measure import measure
from vb_node.pipeline.resample import labels_to_grid, soft_mask, to_grid
from vb_node.pipeline.select import select, summarise
from vb_node.types import Diagnosis, Finding, Floats, Labels, Prior, Series, StandardVolume, Volume

ALGORITHM = "Virtual Biopsy"
PAGE_TITLE = "AI tumour report, investigational"
NO_CONTRAST_NOTE = (
    "The header holds no evidence of contrast; the series was analysed because the site or an operator asked for it."
)
Objects = list[tuple[str, Dataset]]


@dataclass(frozen=True)
class Report:
    """The objects, with their roles, in the order in which they may be sent; the lesions; and all in one sentence."""

    objects: Objects
    findings: Sequence[Finding]
    sentence: str


def write(
    case: Case, series: Series, volume: Volume, standard: StandardVolume, prior: Prior, diagnosis: Diagnosis
) -> Report:
    """Write what was found in a series, and check each object before it may leave; raise ``BadResult``."""
    labels = labels_to_grid(prior.labels, standard.grid, series.grid)
    findings = measure(labels, series.grid, prior.regions, standard.atlas_from_patient)
    if lost := set(np.unique(prior.labels)) - set(np.unique(labels)):
        raise BadResult(f"lesions {sorted(map(int, lost))} have no voxel on the grid of the source")
    provenance = _tracked(_provenance(case, series.headers[0]), labels, series)
    notes = [*standard.flags, *_contrast_note(series)]
    objects = _results(series, labels, findings, prior, diagnosis, provenance, notes)
    said = sentence.analysed(findings, prior, diagnosis, provenance)
    drawing = key_image.draw(series, volume.voxels, findings, _what_counted(diagnosis, series))
    objects += _pages(case, series, drawing, said, provenance)
    if findings:
        objects += _maps(case, series, _soft(prior, standard, series, labels), provenance)
    return Report(objects, findings, said)


def refuse(case: Case, headers: Sequence[Dataset], error: Unfit) -> Report:
    """Write the report "not analysed", and its pages; they need headers that can be read, and no more."""
    provenance = _provenance(case, headers[0]).of_refusal(codes.reason_for(error).value)
    said = sentence.not_analysed(codes.reason_for(error).meaning, provenance)
    report = sr.write_not_analysed(headers, error, provenance)
    check.check_not_analysed(headers, report)
    objects: Objects = [(sr.ROLE, report)]
    if SecondaryCaptureImageStorage not in case.left_out:
        page = key_image.write_text_page(headers, [said], provenance)
        check_companions.check_text_page(headers, page)
        objects.append((key_image.ROLE, page))
    if EncapsulatedPDFStorage not in case.left_out:
        objects.append(_document(headers, said, None, provenance))
    return Report(objects, (), said)


def _results(
    series: Series,
    labels: Labels,
    findings: Sequence[Finding],
    prior: Prior,
    diagnosis: Diagnosis,
    provenance: Provenance,
    notes: Sequence[str],
) -> Objects:
    """Write the Segmentation, if there is a lesion, and the report that names it."""
    names = {finding.label: sentence.lesion_name(finding) for finding in findings}
    segmentation = seg.write_seg(series, labels, provenance, names) if findings else None
    report = sr.write_report(series, findings, prior, diagnosis, segmentation, provenance, notes)
    check.check_result(series, labels, report, segmentation)
    first: Objects = [(seg.ROLE, segmentation)] if segmentation is not None else []
    return [*first, (sr.ROLE, report)]


def _pages(case: Case, series: Series, drawing: key_image.Drawing, said: str, provenance: Provenance) -> Objects:
    """Write the pages for systems that show neither SEG nor SR, as far as a destination takes them."""
    pages: Objects = []
    if SecondaryCaptureImageStorage not in case.left_out:
        page = key_image.write_page(series, drawing, [said], provenance)
        check.check_key_image(series, page)
        pages.append((key_image.ROLE, page))
    if EncapsulatedPDFStorage not in case.left_out:
        pages.append(_document(series.headers, said, drawing.picture, provenance))
    return pages


def _document(
    headers: Sequence[Dataset], said: str, picture: key_image.Picture | None, provenance: Provenance
) -> tuple[str, Dataset]:
    lines = [said, sr_content.DISCLAIMER, sr_content.claim_in_words(provenance)]
    page = document.write_document(headers, PAGE_TITLE, lines, picture, provenance)
    check_companions.check_document(headers, page)
    return document.ROLE, page


def _maps(case: Case, series: Series, soft: Floats, provenance: Provenance) -> Objects:
    """Write the soft prior in bands, and as it is where a destination takes it and the site's limit has room."""
    maps: Objects = []
    if case.plan["probability_bands"]:
        banded = bands.write_bands(series, soft, provenance)
        check_companions.check_bands(series, soft, banded)
        maps.append((bands.ROLE, banded))
    if ParametricMapStorage not in case.left_out and soft.nbytes <= 1e6 * case.plan["parametric_map_mb"]:
        parametric = parametric_map.write_parametric_map(series, soft, provenance)
        check_companions.check_parametric_map(series, soft, parametric)
        maps.append((parametric_map.ROLE, parametric))
    return maps


def _soft(prior: Prior, standard: StandardVolume, series: Series, labels: Labels) -> Floats:
    """Carry the soft map to the source's grid; it is at least one half exactly where a lesion is, as before the way."""
    soft = soft_mask(prior.probability, standard.grid, series.grid)
    return np.where(labels > 0, np.maximum(soft, 0.5), np.minimum(soft, 0.49)).astype(np.float32)


def _what_counted(diagnosis: Diagnosis, series: Series) -> key_image.Saliency | None:
    """Carry what counted for the most probable class to the source's grid."""
    if diagnosis.saliency is None:
        return None
    best = max(diagnosis.probabilities, key=lambda name: diagnosis.probabilities[name])
    return key_image.Saliency(best, to_grid(diagnosis.saliency, series.grid).voxels)


def _provenance(case: Case, header: Dataset) -> Provenance:
    settings = without_places({key: value for key, value in case.plan.items() if key != "weights"})
    by_synthetic = bool(case.plan.get("is_trained_on_synthetic_data", True))
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
        is_trained_on_synthetic_data=by_synthetic and bool(case.plan.get("is_localizer_synthetic", True)),
        is_classified_by_synthetic_data=by_synthetic,
        predecessor=case.predecessor,
        series_number=str(header.get("SeriesNumber") or ""),
    )


def _tracked(provenance: Provenance, labels: Labels, series: Series) -> Provenance:
    """Give lesions that an earlier revision reported their tracking UIDs."""
    before = provenance.predecessor
    if before is None or before.segmentation is None:
        return provenance
    return replace(provenance, carried=tracking.carried_on(before.segmentation, labels, series.grid))


def _contrast_note(series: Series) -> list[str]:
    header = summarise(series.headers[0], len(series.headers))
    return [] if select([header])[0].is_taken else [NO_CONTRAST_NOTE]
