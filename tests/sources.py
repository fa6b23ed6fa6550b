"""Source series of every kind that the results must be right for, made and real, and all objects of one of them."""

from collections.abc import Callable

import numpy as np
from factories import SAGITTAL, affine, head, mr_series
from pydicom.dataset import Dataset
from results import (
    NOTHING,
    SHAPE,
    UNDETERMINED,
    analysis_of,
    enhanced,
    oblique,
    provenance,
    score_map,
    series_of,
    two_lesions,
    written,
)

from vb_node.dicom.bands import write_bands
from vb_node.dicom.document import write_document
from vb_node.dicom.key_image import draw, write_page, write_text_page
from vb_node.dicom.parametric_map import write_parametric_map
from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.seg import write_seg
from vb_node.dicom.sentence import lesion_name
from vb_node.dicom.sr import SOP_CLASSES, as_class, write_not_analysed, write_report
from vb_node.errors import NoBrain
from vb_node.types import Series

# All made ones have 37 columns, no multiple of 8, but the Philips one of 170 x 256 x 256 has.
SOURCES: dict[str, Callable[[], Series]] = {
    "oblique, anisotropic": oblique,
    "Enhanced": enhanced,
    "sagittal, anisotropic, Greek": lambda: series_of(
        mr_series(
            head(SHAPE),
            affine((5.0, 0.6, 0.9), SAGITTAL),
            SpecificCharacterSet="ISO_IR 126",
            PatientName="Διονυσιος",
        )
    ),
    "Chinese": lambda: oblique(SpecificCharacterSet="GB18030", PatientName="Wang^XiaoDong=王^小东"),
    "poor": lambda: oblique(
        StudyID=None,
        ReferringPhysicianName=None,
        AccessionNumber=None,
        PatientID=None,
        PatientName=None,
        StudyTime=None,
    ),
}
REAL = {
    "ReMIND, oblique": "remind_022_t1ce_seg/3DAXT1postcontrast_MRI",
    "Siemens, Enhanced": "siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl",
    "Philips, sagittal": "philips_mprage_3t/In/cl",
}
LINES = ("two lesions (left thalamus, 1.2 mL; right side, 0.4 mL)", "Algorithm virtual_biopsy 0.1.0")


def every_object(series: Series) -> dict[str, Dataset]:
    """Write every kind of object that the node can write of one series; two lesions are in it."""
    labels, nothing = two_lesions(series.grid.shape), np.zeros(series.grid.shape, np.uint8)
    report, segmentation = written(series, labels, provenance())
    refusal = provenance().of_refusal("NO_BRAIN")
    return {
        "SEG": segmentation,
        "SR": report,
        "SR, Comprehensive": as_class(report, SOP_CLASSES[1]),
        "SR, Enhanced": as_class(report, SOP_CLASSES[2]),
        "SR, no lesion": write_report(
            series, *analysis_of(series, nothing, NOTHING, "not localised"), None, provenance("job-3")
        ),
        "SR, not analysed": write_not_analysed(series.headers, NoBrain("expected a head"), refusal),
        **_revised(series, report),
        **_maps_and_pages(series),
    }


def _revised(series: Series, report: Dataset) -> dict[str, Dataset]:
    labels = two_lesions(series.grid.shape)
    before = Predecessor(
        report.SOPClassUID, report.SOPInstanceUID, report.SeriesInstanceUID, series.headers[0].StudyInstanceUID
    )
    revision = provenance("job-2", predecessor=before)
    analysis = analysis_of(series, labels, UNDETERMINED)
    names = {finding.label: lesion_name(finding) for finding in analysis.findings}
    segmentation = write_seg(series, labels, revision, names)
    return {
        "SEG, revision": segmentation,
        "SR, undetermined revision": write_report(series, *analysis, segmentation, revision),
    }


def _maps_and_pages(series: Series) -> dict[str, Dataset]:
    shape, made_by, refusal = series.grid.shape, provenance(), provenance().of_refusal("NO_BRAIN")
    drawing = draw(series, head(shape).astype(np.float32), analysis_of(series, two_lesions(shape)).findings)
    return {
        "bands": write_bands(series, score_map(shape), made_by),
        "map": write_parametric_map(series, score_map(shape), made_by),
        "key image": write_page(series, drawing, LINES, made_by),
        "text page": write_text_page(series.headers, LINES, refusal),
        "PDF": write_document(series.headers, "AI tumour analysis", LINES, drawing.picture, made_by),
        "PDF, not analysed": write_document(series.headers, "AI tumour analysis", LINES, None, refusal),
    }
