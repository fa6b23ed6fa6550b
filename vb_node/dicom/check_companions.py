"""The last look at what goes beside SEG and SR: maps and pages, read back from their own bytes."""

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import EncapsulatedPDFStorage, ParametricMapStorage

from vb_node.dicom import codes
from vb_node.dicom.bands import BANDS
from vb_node.dicom.check import common, refuse, segmentation_faults
from vb_node.dicom.document import MIME_TYPE
from vb_node.dicom.key_image import WARNING
from vb_node.dicom.placement import locate
from vb_node.dicom.sr_tree import code_of
from vb_node.types import Floats, Labels, Series

# What the module tables leave to a condition or do not ask for.
IN_MAP = ("FrameOfReferenceUID", "FloatPixelData")
IN_DOCUMENT = ("DocumentTitle", "SourceInstanceSequence")
IN_TEXT_PAGE = ("SourceImageSequence", "PixelData")


def check_bands(series: Series, probability: Floats, bands: Dataset) -> None:
    """Check the bands against the map [k, j, i] that they are to show.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    banded = np.digitize(probability, [band.lowest for band in BANDS]).astype(np.uint8)
    found = [*_outside(probability), *segmentation_faults(bands, series, banded), *_names(bands, banded)]
    found += _labels_of_scores(bands, "BANDS")
    refuse(found)


def check_parametric_map(series: Series, probability: Floats, pmap: Dataset) -> None:
    """Check a Parametric Map against the values [k, j, i] that it is to hold.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = [*_outside(probability), *common(pmap, series.headers[0], IN_MAP), *_mapping(pmap)]
    if pmap.get("SOPClassUID") != ParametricMapStorage:
        found.append("PMAP: is not a Parametric Map")
    if pmap.get("ContentQualification") != "RESEARCH":
        found.append("PMAP: is not qualified as RESEARCH")
    if pmap.get("FrameOfReferenceUID") != series.grid.frame_of_reference_uid:
        found.append("PMAP: stands in another frame of reference than its source")
    found += [*_labels_of_scores(pmap, "PMAP"), *_referenced(pmap, series), *_values(pmap, series, probability)]
    refuse(found)


def check_document(headers: Sequence[Dataset], document: Dataset) -> None:
    """Check that a page is a PDF that warns of itself, whole, and names the instances it comes from.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = list(common(document, headers[0], IN_DOCUMENT))
    if document.get("SOPClassUID") != EncapsulatedPDFStorage or document.get("Modality") != "DOC":
        found.append("PDF: is not an Encapsulated PDF of modality DOC")
    if document.get("MIMETypeOfEncapsulatedDocument") != MIME_TYPE:
        found.append(f"PDF: the MIME type is not {MIME_TYPE}")
    if document.get("BurnedInAnnotation") != "YES":
        found.append("PDF: does not say that text is burned in")
    if document.get("VerificationFlag") != "UNVERIFIED":
        found.append("PDF: claims to be verified")
    found += [*_sources(document, "SourceInstanceSequence", headers), *_pdf(document)]
    refuse(found)


def check_text_page(headers: Sequence[Dataset], page: Dataset) -> None:
    """Check that a page without a picture belongs to the study, warns of itself and names its sources.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = list(common(page, headers[0], IN_TEXT_PAGE))
    if page.get("BurnedInAnnotation") != "YES":
        found.append("text page: does not say that text is burned in")
    refuse([*found, *_sources(page, "SourceImageSequence", headers)])


def _outside(probability: Floats) -> Iterator[str]:
    low, high = float(probability.min()), float(probability.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        yield f"the probability map runs from {low:g} to {high:g}, expected 0 to 1"


def _names(bands: Dataset, banded: Labels) -> Iterator[str]:
    expected = [BANDS[band - 1].name for band in np.unique(banded[banded > 0])]
    named = [item.get("SegmentLabel") for item in bands.get("SegmentSequence") or []]
    if named != expected:
        yield f"BANDS: the segments are named {named}, expected {expected}"


def _labels_of_scores(result: Dataset, name: str) -> Iterator[str]:
    """A reader must see in the list of series that nobody verified it, and beside it that the score is a score."""
    if "not verified" not in result.get("SeriesDescription", ""):
        yield f"{name}: the series description does not say that it is not verified"
    if "not calibrated" not in str(result.get("ContentDescription") or ""):
        yield f"{name}: does not say that its score is not calibrated"


def _mapping(pmap: Dataset) -> Iterator[str]:
    shared = pmap.SharedFunctionalGroupsSequence[0]
    mapping = (shared.get("RealWorldValueMappingSequence") or [Dataset()])[0]
    slope, intercept = mapping.get("RealWorldValueSlope"), mapping.get("RealWorldValueIntercept")
    if (slope, intercept) != (1, 0):
        yield f"PMAP: real world values are {slope} x + {intercept}, expected the values themselves"
    quantity = (mapping.get("QuantityDefinitionSequence") or [Dataset()])[0]
    if not _is_coded(quantity, "ConceptCodeSequence", codes.PROBABILITY):
        yield "PMAP: does not define its quantity as a probability"
    if not _is_coded(mapping, "MeasurementUnitsCodeSequence", codes.SCORE):
        yield "PMAP: its unit is not a score"
    if "FrameAnatomySequence" not in shared:
        yield "PMAP: has no frame anatomy: dcmqi and 3D Slicer crash on it"


def _is_coded(item: Dataset, sequence: str, code: Code) -> bool:
    found = code_of(item, sequence)
    return found is not None and found == code  # pydicom's codes cannot be compared with None


def _referenced(pmap: Dataset, series: Series) -> Iterator[str]:
    first = (pmap.get("ReferencedSeriesSequence") or [Dataset()])[0]
    if first.get("SeriesInstanceUID") != series.series_instance_uid:
        yield "PMAP: the referenced series is not the source series"
    yield from _sources(first, "ReferencedInstanceSequence", series.headers)


def _values(pmap: Dataset, series: Series, probability: Floats) -> Iterator[str]:
    faults, slices = locate(pmap, series)
    yield from (f"PMAP: {fault}" for fault in faults)
    if slices is None:
        return
    # OHIF takes the frames as they come, and dimension indices must tell the same order.
    indices = [frame.FrameContentSequence[0].DimensionIndexValues for frame in pmap.PerFrameFunctionalGroupsSequence]
    if slices.tolist() != list(range(len(probability))) or indices != list(range(1, len(probability) + 1)):
        yield "PMAP: the frames are not all slices in their order: OHIF would show them mirrored"
    stored = np.frombuffer(pmap.FloatPixelData, "<f4")
    if stored.size != slices.size * probability[0].size:
        yield f"PMAP: holds {stored.size} values, expected {probability.size}"
    elif not np.array_equal(stored.reshape(-1, *probability.shape[1:]), probability[slices]):
        yield "PMAP: read back, it does not hold the map"


def _sources(result: Dataset, sequence: str, headers: Sequence[Dataset]) -> Iterator[str]:
    listed = sorted(str(item.ReferencedSOPInstanceUID) for item in result.get(sequence) or [])
    expected = sorted(str(header.SOPInstanceUID) for header in headers)
    if listed != expected:
        yield f"{sequence} lists {len(listed)} instances, {len(set(listed) & set(expected))} of {len(expected)} sources"


def _pdf(document: Dataset) -> Iterator[str]:
    stored, length = document.get("EncapsulatedDocument") or b"", int(document.get("EncapsulatedDocumentLength") or 0)
    pdf = stored[:length]
    if len(stored) != length + length % 2 or not pdf.startswith(b"%PDF-") or not pdf.rstrip().endswith(b"%%EOF"):
        yield f"PDF: {len(stored)} bytes are no whole PDF of {length} bytes"
    elif not any(WARNING.encode() in stream for stream in _streams(pdf)):
        yield "PDF: does not warn that it is not verified"


def _streams(pdf: bytes) -> Iterator[bytes]:
    """Unpack the content streams of a PDF (ISO 32000-1 7.3.8)."""
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(stream)
        except zlib.error:  # not compressed, or damaged: then it shows nothing either
            yield stream
