"""The mask as a BINARY Segmentation on the source's grid: the one form that every reader tried takes (PS3.3 A.51)."""

from collections.abc import Mapping

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset

from vb_node.dicom import codes, source, uid
from vb_node.dicom.provenance import MANUFACTURER, Provenance
from vb_node.types import Labels, Series

ROLE = "SEG"
SERIES_NUMBER = 9001
SERIES_DESCRIPTION = "AI tumour prior, not verified"
CONTENT_LABEL = "AI_TUMOUR_PRIOR"
ORANGE = (255, 80, 0)


def segment_numbers(labels: Labels) -> dict[int, int]:
    """Number the lesions that are left on the source's grid from 1, in the order of their labels."""
    return {int(label): number for number, label in enumerate(np.unique(labels[labels > 0]), start=1)}


def write_seg(series: Series, labels: Labels, provenance: Provenance, names: Mapping[int, str]) -> Dataset:
    """Write one segment for each lesion in ``labels`` [k, j, i] on ``series.grid``; ``names`` puts labels into words.

    Raises
    ------
    ValueError
        No lesion, another grid, or a source without a frame of reference: none of them can be a Segmentation.
    """
    numbers = segment_numbers(labels)
    _demand(series, labels, numbers)
    lookup = np.zeros(256, np.uint8)
    lookup[list(numbers)] = list(numbers.values())
    result = Segmentation(
        source_images=source.slices(series),
        pixel_array=lookup[labels],
        segmentation_type="BINARY",
        segment_descriptions=[_segment(numbers[label], label, names[label], provenance) for label in numbers],
        **provenance.identity(ROLE, SERIES_NUMBER),
        content_label=CONTENT_LABEL,
        content_description="AI output for research, not verified, not a diagnosis",
        content_creator_name="",
        content_qualification="RESEARCH",
        series_description=SERIES_DESCRIPTION,
        omit_empty_frames=True,
    )
    _refer_to_real_instances(result, series)
    _pin_dimensions(result, provenance)
    source.sign(result, series.headers[0], provenance)
    result.BodyPartExamined = "BRAIN"
    return result


def _demand(series: Series, labels: Labels, numbers: Mapping[int, int]) -> None:
    if not numbers:
        raise ValueError("a Segmentation needs a lesion: with none, only the SR document is written")
    if labels.shape != series.grid.shape:
        raise ValueError(f"labels of shape {series.grid.shape} expected, as the source has; {labels.shape} came")
    if not series.grid.frame_of_reference_uid:
        raise ValueError("the source has no Frame of Reference UID: write the SR document without a Segmentation")


def algorithm(provenance: Provenance) -> AlgorithmIdentificationSequence:
    """Name the algorithm (PS3.3 10.16)."""
    return AlgorithmIdentificationSequence(
        name=provenance.algorithm_name,
        version=provenance.algorithm_version,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        source=MANUFACTURER,
    )


def _segment(number: int, label: int, name: str, provenance: Provenance) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.NEOPLASM,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(provenance),
        tracking_uid=provenance.tracking_uid(label),
        tracking_id=name[:64],
        anatomic_regions=[codes.SITES["brain"]],
        display_color=CIELabColor.from_rgb(*ORANGE),
    )


def _refer_to_real_instances(result: Dataset, series: Series) -> None:
    """Replace each virtual slice by the instance, and frame, behind it; and list every source instance once."""
    classes = {str(header.SOPInstanceUID): header.SOPClassUID for header in series.headers}
    frames = result.PerFrameFunctionalGroupsSequence
    references = [item for frame in frames for item in frame.DerivationImageSequence[0].SourceImageSequence]
    # Frames of two segments in one slice may share an item: each is replaced once.
    for reference in {id(item): item for item in references}.values():
        plane = series.planes[source.slice_of(reference.ReferencedSOPInstanceUID)]
        reference.ReferencedSOPClassUID = classes[plane.sop_instance_uid]
        reference.ReferencedSOPInstanceUID = plane.sop_instance_uid
        if plane.frame_number is not None:
            reference.ReferencedFrameNumber = plane.frame_number
    result.SourceImageSequence = [_reference(header) for header in series.headers]
    result.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [_reference(header) for header in series.headers]


def _reference(header: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return reference


def _pin_dimensions(result: Dataset, provenance: Provenance) -> None:
    """Replace highdicom's random Dimension Organization UID: the same job writes the same bytes."""
    pinned = uid.derive(provenance.job_key, f"{ROLE} dimensions")
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = pinned
