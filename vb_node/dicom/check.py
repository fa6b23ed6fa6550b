"""The last look at a result before it may leave: is it of this patient, does it show these voxels, do the parts agree?

Nothing here asks highdicom or our own writers: the pixels are unpacked and placed from the object's own bytes.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from vb_node.dicom import codes, modules, source
from vb_node.dicom.placement import locate, rebuilt
from vb_node.dicom.provenance import is_ours
from vb_node.dicom.sr import SOP_CLASSES
from vb_node.dicom.sr_tree import code_of, find, number, walk
from vb_node.errors import BadResult
from vb_node.types import Labels, Series

# What every object of ours has, and the module tables leave to a condition or do not ask for.
ALWAYS = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "ContentDate",
    "ContentTime",
    "SeriesNumber",
    "SeriesDescription",
    "InstanceCreationDate",
)
IN_SEG = ("FrameOfReferenceUID", "PixelData")
IN_SR = ("ContentTemplateSequence", "CurrentRequestedProcedureEvidenceSequence")
IN_KEY_IMAGE = ("PatientOrientation", "SourceImageSequence", "PixelData")
# Copied from the source with whatever codes it has.
COPIED = (*source.TYPE_2, *source.OPTIONAL)


def check_result(series: Series, labels: Labels, report: Dataset, segmentation: Dataset | None) -> None:
    """Check a report and its Segmentation against the mask [k, j, i] that they are to show.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = [*_report(report, series.headers, segmentation), *_lesion_count(report, labels)]
    if segmentation is not None:
        found += [
            *segmentation_faults(segmentation, series, labels),
            *_agreement(report, segmentation, labels, series.grid.voxel_mm3),
        ]
    refuse(found)


def check_not_analysed(headers: Sequence[Dataset], report: Dataset) -> None:
    """Check the report of a series that was not analysed: it gives a coded reason, and no lesion and no class.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = list(_report(report, headers, None))
    if not find(report, codes.REASON):
        found.append("no coded reason why the series was not analysed")
    if find(report, codes.NUMBER_OF_LESIONS) or find(report, codes.PROBABILITY):
        found.append("a report without analysis counts lesions or gives probabilities")
    refuse(found)


def check_key_image(series: Series, picture: Dataset) -> None:
    """Check that a key image belongs to the study and warns of itself.

    Raises
    ------
    BadResult
        With everything that is wrong.
    """
    found = list(common(picture, series.headers[0], IN_KEY_IMAGE))
    sources = {str(item.ReferencedSOPInstanceUID) for item in picture.SourceImageSequence}
    if not sources <= {str(header.SOPInstanceUID) for header in series.headers}:
        found.append("key image: names a source that is not of its series")
    if picture.get("BurnedInAnnotation") != "YES":
        found.append("key image: does not say that text is burned in")
    refuse(found)


def refuse(found: Sequence[str]) -> None:
    if found:
        raise BadResult(f"the result fails its own check and is not sent: {'; '.join(found)}")


def common(result: Dataset, header: Dataset, required: Sequence[str]) -> Iterator[str]:
    """Check what holds for an object of any kind.

    Raises
    ------
    BadResult
        At once, where something is missing: all other checks read it.
    """
    name = result.get("Modality", "?")
    absent = [keyword for keyword in (*ALWAYS, *required) if keyword not in result or result[keyword].is_empty]
    asked = (f"{keyword} is required and missing or empty" for keyword in absent)
    refuse([f"{name}: {fault}" for fault in dict.fromkeys((*modules.missing(result), *asked))])
    yield from (f"{name}: {fault}" for fault in codes.unknown(result, COPIED))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
        if str(result.get(keyword) or "") != str(header.get(keyword) or ""):
            yield f"{name}: {keyword} is not the source's"
    if result.get("SeriesInstanceUID") == header.get("SeriesInstanceUID"):
        yield f"{name}: stands in the series of its source"
    if not is_ours(result):
        yield f"{name}: could not be told from an image of a scanner, and would start a job"
    if result.file_meta.MediaStorageSOPInstanceUID != result.get("SOPInstanceUID"):
        yield f"{name}: file meta information names another instance"


def _report(report: Dataset, headers: Sequence[Dataset], segmentation: Dataset | None) -> Iterator[str]:
    yield from common(report, headers[0], IN_SR)
    if report.get("SOPClassUID") not in SOP_CLASSES:
        yield "SR: the SOP class is none of the three for measurement reports"
    if code_of(report, "ConceptNameCodeSequence") != codes.REPORT_TITLE:
        yield f"SR: the title is not {codes.REPORT_TITLE.value}: OHIF shows an empty page"
    if report.ContentTemplateSequence[0].TemplateIdentifier != "1500":
        yield "SR: the template is not 1500"
    if any(item.get("ContinuityOfContent", "SEPARATE") != "SEPARATE" for item in walk(report)):
        yield "SR: a container is not SEPARATE: viewers print values without their names"
    if report.get("VerificationFlag") != "UNVERIFIED" or "VerifyingObserverSequence" in report:
        yield "SR: claims to be verified"
    if not any("not a diagnosis" in item.TextValue for item in find(report, codes.COMMENT)):
        yield "SR: does not say that it is not a diagnosis"
    if not find(report, codes.CLAIM):
        yield "SR: does not code what its weights can claim"
    yield from _evidence(report, headers, segmentation)
    yield from _probabilities(report)


def _evidence(report: Dataset, headers: Sequence[Dataset], segmentation: Dataset | None) -> Iterator[str]:
    listed = {
        (str(series.SeriesInstanceUID), str(item.ReferencedSOPInstanceUID))
        for study in report.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    shown = [segmentation] if segmentation is not None else []
    expected = {(str(item.SeriesInstanceUID), str(item.SOPInstanceUID)) for item in (*headers, *shown)}
    if listed != expected:
        yield f"SR: evidence lists {len(listed)} instances, {len(listed & expected)} of {len(expected)} it comes from"


def _probabilities(report: Dataset) -> Iterator[str]:
    percents = [number(item) for item in find(report, codes.PROBABILITY)]
    is_undetermined = any(
        code_of(item, "ConceptCodeSequence") == codes.UNDETERMINED for item in find(report, codes.IMPRESSION)
    )
    if not percents and not is_undetermined and find(report, codes.NUMBER_OF_LESIONS):
        yield "SR: says nothing of the tumour class, not even that it is undetermined"
    if percents and is_undetermined:
        yield "SR: gives class probabilities and says that the class is undetermined"
    if percents and (abs(sum(percents) - 100) > 0.15 or min(percents) < 0):
        yield f"SR: class probabilities sum to {sum(percents):.1f} %, expected 100"


def _lesion_count(report: Dataset, labels: Labels) -> Iterator[str]:
    lesions = np.unique(labels[labels > 0]).size
    counted = [number(item) for item in find(report, codes.NUMBER_OF_LESIONS)]
    measured = len(find(report, codes.VOLUME))
    if counted != [lesions] or measured != lesions:
        yield f"SR: counts {counted} and measures {measured} lesions, the mask has {lesions}"


def segmentation_faults(segmentation: Dataset, series: Series, labels: Labels) -> Iterator[str]:
    yield from common(segmentation, series.headers[0], IN_SEG)
    if segmentation.SOPClassUID != SegmentationStorage or segmentation.get("SegmentationType") != "BINARY":
        yield "SEG: is not a BINARY Segmentation"
    if segmentation.get("ContentQualification") != "RESEARCH":
        yield "SEG: is not qualified as RESEARCH"
    if segmentation.get("FrameOfReferenceUID") != series.grid.frame_of_reference_uid:
        yield "SEG: stands in another frame of reference than its source"
    segments = segmentation.get("SegmentSequence") or []
    if [int(item.SegmentNumber) for item in segments] != list(range(1, np.unique(labels[labels > 0]).size + 1)):
        yield "SEG: segments are not numbered from 1, one a lesion"
    if len({item.TrackingUID for item in segments if item.get("TrackingUID")}) != len(segments):
        yield "SEG: two segments share a tracking UID, or have none"
    yield from _references(segmentation, series)
    yield from _geometry(segmentation, series, labels)


def _references(segmentation: Dataset, series: Series) -> Iterator[str]:
    sources = [str(header.SOPInstanceUID) for header in series.headers]
    first = (segmentation.get("ReferencedSeriesSequence") or [Dataset()])[0]
    listed = [str(item.ReferencedSOPInstanceUID) for item in first.get("ReferencedInstanceSequence", [])]
    if first.get("SeriesInstanceUID") != series.series_instance_uid or sorted(listed) != sorted(sources):
        yield "SEG: the referenced series is not the whole source series"


def _geometry(segmentation: Dataset, series: Series, labels: Labels) -> Iterator[str]:
    """Place every frame by its own attributes and compare with the mask, voxel by voxel."""
    faults, slices = locate(segmentation, series)
    yield from (f"SEG: {fault}" for fault in faults)
    if slices is not None and not np.array_equal(rebuilt(segmentation, slices, labels.shape), _numbered(labels)):
        yield "SEG: read back, it does not show the mask"


def _numbered(labels: Labels) -> Labels:
    """Number the lesions from 1 in the order of their labels."""
    found = np.unique(labels[labels > 0])
    numbers = np.zeros(256, np.uint8)
    numbers[found] = np.arange(1, found.size + 1)
    return numbers[labels]


def _agreement(report: Dataset, segmentation: Dataset, labels: Labels, voxel_mm3: float) -> Iterator[str]:
    """Does each lesion of the report point to its own segment, and measure it?"""
    numbered = _numbered(labels)
    told = []
    for group in (group for group in find(report, codes.MEASUREMENT_GROUP) if find(group, codes.VOLUME)):
        segment_number = yield from _reference(group, segmentation)
        told.append(segment_number)
        volume_mm3 = (numbered == segment_number).sum() * voxel_mm3 if segment_number else 0.0
        yield from _volume(group, segment_number, float(volume_mm3))
    if sorted(told) != [int(item.SegmentNumber) for item in segmentation.SegmentSequence]:
        yield f"SR: tells of segments {sorted(told)}, not of each one once"


def _reference(group: Dataset, segmentation: Dataset) -> Generator[str, None, int]:
    """Judge a lesion's reference, and return the number of the segment it names; 0 where there is none."""
    reference = next((item.ReferencedSOPSequence[0] for item in find(group, codes.REFERENCED_SEGMENT)), Dataset())
    named = reference.get("ReferencedSOPInstanceUID"), reference.get("ReferencedSOPClassUID")
    if named != (segmentation.SOPInstanceUID, segmentation.SOPClassUID):
        yield "SR: a lesion refers to another object than its Segmentation"
    source_series = [item.UID for item in find(group, codes.SOURCE_SERIES)]
    if source_series != [segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID]:
        yield "SR: a lesion names another source series than its Segmentation"
    segment_number = int(reference.get("ReferencedSegmentNumber") or 0)
    tracking_uids = {int(item.SegmentNumber): item.get("TrackingUID") for item in segmentation.SegmentSequence}
    if tracking_uids.get(segment_number) not in [item.UID for item in find(group, codes.TRACKING_UID)]:
        yield f"SR: a lesion refers to segment {segment_number}, which is not its own"
    return segment_number


def _volume(group: Dataset, segment_number: int, volume_mm3: float) -> Iterator[str]:
    volume = find(group, codes.VOLUME)[0]
    unit = code_of(volume.MeasuredValueSequence[0], "MeasurementUnitsCodeSequence")
    if unit != codes.CUBIC_MILLIMETRE:
        yield f"SR: states a volume in {unit.value if unit else 'no unit'}, expected {codes.CUBIC_MILLIMETRE.value}"
    if abs(number(volume) - volume_mm3) > max(0.1, 1e-4 * volume_mm3):
        yield f"SR: states {number(volume):.1f} mm3 for segment {segment_number}, which has {volume_mm3:.1f}"
