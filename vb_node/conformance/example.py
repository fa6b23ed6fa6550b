"""Example objects from the real writers: what the statement says of them is read off them, so it cannot drift.

There are two made-up sources that differ in all they state and two made-up runs: an attribute that follows the source
is copied from it, and one that follows nothing is fixed.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from vb_node.dicom import bands, document, key_image, parametric_map, seg, sr
from vb_node.dicom.provenance import Predecessor, Provenance
from vb_node.dicom.read import Instance
from vb_node.dicom.series import MIN_SLICES, arrange_instances
from vb_node.dicom.source import EQUIPMENT, OPTIONAL, TYPE_2
from vb_node.errors import MissingSlices
from vb_node.types import Diagnosis, Finding, Floats, Prior, Series

# By VR, {} for the number of the source; what is not listed takes text.
VALUES = {"DA": "1970010{}", "TM": "10150{}", "AS": "03{}Y", "DS": "7{}"}
SEX = {1: "F", 2: "M"}
COMPRESSED = {1: "00", 2: "01"}
SHARES = {"Glioma": 0.7, "PCNSL": 0.2, "Germinoma": 0.06, "Rare": 0.04}
DETERMINED = Diagnosis(SHARES, True, "", likely=("Glioma", "PCNSL"), coverage=0.9)
UNDETERMINED = Diagnosis({}, False, "no class stands out")


def source(number: int) -> Series:
    """Make a small series with a value in every attribute that a result may take from its source."""
    instances = [Instance(Path(f"{k}.dcm"), _slice(number, k)) for k in range(MIN_SLICES + number)]
    return arrange_instances(instances)


def provenance(number: int) -> Provenance:
    """Make the provenance of one run."""
    before = Predecessor(sr.SOP_CLASSES[0], f"2.25.7{number}", f"2.25.8{number}", f"2.25.9{number}", revision=number)
    return Provenance(
        job_key=f"job {number}",
        lineage_key=f"lineage {number}",
        created=datetime.fromisoformat(f"2026-01-0{number}T10:11:1{number}+00:00"),
        device_serial_number=f"NODE{number}",
        software_version=f"0.{number}",
        algorithm_name="virtual_biopsy",
        algorithm_version=f"0.{number}",
        weights=(("diagnoser", f"{number}" * 64),),
        parameters="settings of the run",
        predecessor=before,
    )


def objects(number: int, run: int) -> dict[str, Dataset]:
    """Write every kind of result of a source once, by its role, in the order in which they are sent."""
    series, made_by = source(number), provenance(run)
    probability, findings, prior = _probability(series), _findings(series, number), _prior()
    segmentation = _segmentation(series, number, made_by)
    drawing, lines = key_image.draw(series, probability, findings), ["Example"] * number
    return {
        seg.ROLE: segmentation,
        sr.ROLE: sr.write_report(series, findings, prior, DETERMINED, segmentation, made_by),
        key_image.ROLE: key_image.write_page(series, drawing, lines, made_by),
        document.ROLE: document.write_document(series.headers, f"Example {run}", lines, drawing.picture, made_by),
        bands.ROLE: bands.write_bands(series, probability, made_by),
        parametric_map.ROLE: parametric_map.write_parametric_map(series, probability, made_by),
    }


def reports() -> list[Dataset]:
    """Write the reports that a series may get: analysed, its class not determined, not analysed."""
    series, made_by = source(1), provenance(1)
    findings, prior = _findings(series, 1), _prior()
    segmentation = _segmentation(series, 1, made_by)
    return [
        sr.write_report(series, findings, prior, DETERMINED, segmentation, made_by),
        sr.write_report(series, findings, prior, UNDETERMINED, segmentation, made_by),
        sr.write_not_analysed(series.headers, MissingSlices("an example"), made_by),
    ]


def _slice(number: int, k: int) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    for keyword in (*TYPE_2, *OPTIONAL, *EQUIPMENT):
        setattr(made, keyword, _value(keyword, number))
    made.PatientSex = SEX[number]
    made.LossyImageCompression = COMPRESSED[number]
    made.TimezoneOffsetFromUTC = f"+0{number}00"
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, f"2.25.1{number}{k:02d}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"2.25.2{number}", f"2.25.3{number}"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = f"2.25.4{number}", f"EXAMPLE {number}"
    made.Modality, made.InstanceNumber = "MR", k + 1
    made.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    made.Rows, made.Columns = 16 + 2 * number, 18 + 2 * number
    made.PixelSpacing, made.SliceThickness = [number, number], number
    # Sagittal and coronal
    made.ImageOrientationPatient = [0, 1, 0, 0, 0, -1] if number == 1 else [1, 0, 0, 0, 0, -1]
    made.ImagePositionPatient = [-number * k, 0, 0] if number == 1 else [0, number * k, 0]
    return made


def _value(keyword: str, number: int) -> Any:
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = f"EXAMPLE{number}", "99EXAMPLE", "Example"
        return [item]
    return VALUES.get(vr, "EXAMPLE {}").format(number)


def _segmentation(series: Series, lesions: int, made_by: Provenance) -> Dataset:
    labels = np.zeros(series.grid.shape, np.uint8)
    for finding in _findings(series, lesions):
        labels[finding.mask] = finding.label
    return seg.write_seg(series, labels, made_by, {label: f"Lesion {label}" for label in range(1, lesions + 1)})


def _probability(series: Series) -> Floats:
    """Make a map that rises along the columns, so that it has voxels in every band."""
    return np.broadcast_to(np.linspace(0, 1, series.grid.shape[2], dtype=np.float32), series.grid.shape).copy()


def _findings(series: Series, lesions: int) -> list[Finding]:
    """Cut the map into as many lesions, side by side."""
    number = np.ceil(_probability(series) * lesions)
    return [
        Finding(label, number == label, series.grid, 0.9, 1000.0, 10.0, 9.0, 8.0, "left", "frontal lobe")
        for label in range(1, lesions + 1)
    ]


def _prior() -> Prior:
    empty = np.zeros((1, 1, 1))
    return Prior(empty.astype(np.float32), empty.astype(np.uint8), (), 0.5, "localised")
