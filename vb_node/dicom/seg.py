"""The mask as a BINARY Segmentation on the source's grid: the one form that every reader tried takes (PS3.3 A.51)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset

from vb_node.dicom import codes, source
from vb_node.dicom.provenance import MANUFACTURER, Provenance
from vb_node.types import Labels, Series

ROLE = "SEG"
SERIES_NUMBER = 9001
SERIES_DESCRIPTION = "AI tumour prior, not verified"
CONTENT_LABEL = "AI_TUMOUR_PRIOR"
CONTENT_DESCRIPTION = "AI output for research, not verified, not a diagnosis"
ORANGE = (255, 80, 0)


@dataclass(frozen=True)
class Title:
    """What tells one series of Segmentations from another; of it, viewers list the series description alone."""

    role: str
    series_number: int
    series_description: str
    content_label: str
    content_description: str


TITLE = Title(ROLE, SERIES_NUMBER, SERIES_DESCRIPTION, CONTENT_LABEL, CONTENT_DESCRIPTION)


@dataclass(frozen=True)
class Segment:
    """One segment: its name in viewers, what tracks it through revisions, and its colour (RGB)."""

    name: str
    tracking_uid: str
    colour: tuple[int, int, int]


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
    if not numbers:
        raise ValueError("a Segmentation needs a lesion: with none, only the SR document is written")
    lookup = np.zeros(256, np.uint8)
    lookup[list(numbers)] = list(numbers.values())
    segments = [Segment(names[label], provenance.tracking_uid(label), ORANGE) for label in numbers]
    return build(series, lookup[labels], segments, TITLE, provenance)


def build(
    series: Series, numbered: Labels, segments: Sequence[Segment], title: Title, provenance: Provenance
) -> Dataset:
    """Build a Segmentation of ``numbered`` [k, j, i]: 0 outside, else the place of the segment in ``segments`` from 1.

    Raises
    ------
    ValueError
        Another grid than the source's, or a source without a frame of reference.
    """
    source.demand_grid(series, numbered.shape)
    filled = np.flatnonzero(numbered.any(axis=(1, 2)))
    result = Segmentation(
        source_images=source.slices(series, filled),
        pixel_array=numbered[filled],
        segmentation_type="BINARY",
        segment_descriptions=[_describe(number, item, provenance) for number, item in enumerate(segments, start=1)],
        **provenance.identity(title.role, title.series_number),
        content_label=title.content_label,
        content_description=title.content_description,
        content_creator_name="",
        content_qualification="RESEARCH",
        series_description=title.series_description,
        omit_empty_frames=True,
    )
    source.refer(result, series)
    source.pin_dimensions(result, title.role, provenance)
    source.sign(result, series.headers[0], provenance)
    result.BodyPartExamined = "BRAIN"
    return result


def algorithm(provenance: Provenance) -> AlgorithmIdentificationSequence:
    """Name the algorithm (PS3.3 10.16)."""
    return AlgorithmIdentificationSequence(
        name=provenance.algorithm_name,
        version=provenance.algorithm_version,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        source=MANUFACTURER,
    )


def _describe(number: int, segment: Segment, provenance: Provenance) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:64],
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.NEOPLASM,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(provenance),
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.name[:64],
        anatomic_regions=[codes.SITES["brain"]],
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
