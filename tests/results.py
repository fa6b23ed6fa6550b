"""Builders of what the pipeline hands to the writers: series, lesions, an analysis, a provenance."""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from factories import affine, enhanced_mr, head, mr_series, turned
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from vb_node.dicom.key_image import draw, write_page
from vb_node.dicom.provenance import Provenance
from vb_node.dicom.read import Instance
from vb_node.dicom.seg import write_seg
from vb_node.dicom.sentence import lesion_name
from vb_node.dicom.series import arrange_instances
from vb_node.dicom.sr import write_report
from vb_node.pipeline.measure import measure
from vb_node.types import Diagnosis, Finding, Floats, Labels, Matrix, Prior, Region, Series

SHAPE = (24, 30, 37)
DETERMINED = Diagnosis({"PCNSL": 0.2, "Glioma": 0.715, "Rare": 0.035, "Germinoma": 0.05}, True, "")
UNDETERMINED = Diagnosis({"PCNSL": 0.3, "Glioma": 0.25, "Rare": 0.25, "Germinoma": 0.2}, False, "unlike the data", 1.7)
NOTHING = Diagnosis({}, False, "nothing was localised")


class Analysis(NamedTuple):
    """What the pipeline found, in the order in which ``write_report`` takes it."""

    findings: list[Finding]
    prior: Prior
    diagnosis: Diagnosis


def to_bytes(dataset: Dataset) -> bytes:
    """Write an object as it would go out."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reread(dataset: Dataset) -> Dataset:
    """Write an object and read it back, as its receiver would."""
    return dcmread(BytesIO(to_bytes(dataset)))


def provenance(job_key: str = "job-1", **changes: Any) -> Provenance:
    """Make the provenance of a job; the ledger's date is long ago, so that a clock would show."""
    given: dict[str, Any] = {
        "lineage_key": "lineage-1",
        "created": datetime(2021, 2, 3, 4, 5, 6, 789),
        "device_serial_number": "node-7",
        "software_version": "0.1.0",
        "algorithm_name": "virtual_biopsy",
        "algorithm_version": "0.1.0",
        "weights": (("diagnoser", "ab" * 32),),
        "parameters": "localizer=classical",
    }
    return Provenance(job_key, **(given | changes))


def series_of(datasets: Sequence[Dataset]) -> Series:
    """Arrange instances that are in memory."""
    return arrange_instances([Instance(Path(f"{number}.dcm"), item) for number, item in enumerate(datasets)])


def oblique(**attributes: Any) -> Series:
    """Make a doubly oblique anisotropic series: rows run to the patient's right, columns are no multiple of 8."""
    placed = affine((3.0, 0.8, 1.1), turned(17.0) * [[-1.0], [1.0]], (60.0, -80.0, 30.0))
    return series_of(mr_series(head(SHAPE), placed, **attributes))


def enhanced() -> Series:
    """Make a series of one Enhanced object that holds phase frames beside the magnitude."""
    placed = affine((2.0, 1.0, 1.0), turned(10.0), (-20.0, -30.0, 5.0))
    return series_of([enhanced_mr(head(SHAPE), placed, ("PHASE", "MAGNITUDE"))])


def two_lesions(shape: tuple[int, int, int] = SHAPE) -> Labels:
    """Make two ellipsoids without any symmetry between them, labelled 1 and 3: 2 was lost on the way to this grid."""
    labels = np.zeros(shape, np.uint8)
    labels[_ellipsoid(shape, (0.35, 0.4, 0.6), (0.12, 0.15, 0.2))] = 1
    labels[_ellipsoid(shape, (0.7, 0.65, 0.3), (0.06, 0.1, 0.07))] = 3
    return labels


def score_map(shape: tuple[int, int, int] = SHAPE) -> Floats:
    """Make a map of scores from 0 to 1 without any symmetry, that reaches every band and is 0 outside two lesions."""
    lesions = two_lesions(shape) > 0
    return np.where(lesions, np.random.default_rng(1).random(shape), 0).astype(np.float32)


def centred(series: Series) -> Matrix:
    """Make a map to the atlas that puts the middle of the series on its origin."""
    shifted = np.eye(4)
    shifted[:3, 3] = -series.grid.to_lps((np.array(series.grid.shape)[None] - 1) / 2)[0]
    return shifted


def analysis_of(
    series: Series, labels: Labels, diagnosis: Diagnosis = DETERMINED, state: Any = "localised"
) -> Analysis:
    """Measure ``labels`` and put them beside a diagnosis."""
    regions = [Region(label, 0.9, 1.0, (0, 0, 0), (0, 0, 0)) for label in (1, 2, 3)]
    findings = measure(labels, series.grid, regions, centred(series))
    empty = np.zeros((1, 1, 1))
    prior = Prior(empty.astype(np.float32), empty.astype(np.uint8), (), 0.41, state, ("thick slices",))
    return Analysis(findings, prior, diagnosis)


def written(series: Series, labels: Labels, made_by: Provenance) -> tuple[Dataset, Dataset]:
    """Write the report and the Segmentation of a determined case."""
    analysis = analysis_of(series, labels)
    names = {finding.label: lesion_name(finding) for finding in analysis.findings}
    segmentation = write_seg(series, labels, made_by, names)
    return write_report(series, *analysis, segmentation, made_by), segmentation


def _ellipsoid(shape: tuple[int, int, int], centre: Sequence[float], radius: Sequence[float]) -> NDArray[np.bool_]:
    axes = np.meshgrid(*(np.arange(size) / size for size in shape), indexing="ij")
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radius, strict=True)) < 1


def write_key_image(
    series: Series, voxels: Floats, findings: Sequence[Finding], lines: Sequence[str], made_by: Provenance
) -> Dataset:
    """Draw the lesions and write them as a page."""
    return write_page(series, draw(series, voxels, findings), lines, made_by)
