"""The probability map with its values, as a Parametric Map (PS3.3 A.75): for OHIF's heat map, 3D Slicer and research.

float32 because OHIF draws other forms as noise, every slice on the source's grid, and nothing to compress it with: four
bytes a voxel, so it is written only where it is asked for.
"""

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from vb_node.dicom import codes, source
from vb_node.dicom.provenance import Provenance
from vb_node.types import Floats, Series

ROLE = "PMAP"
SERIES_NUMBER = 9005
SERIES_DESCRIPTION = "AI tumour probability map, not verified"
CONTENT_LABEL = "AI_TUMOUR_MAP"
CONTENT_DESCRIPTION = "AI output for research: score not calibrated, not verified"
LOWEST, HIGHEST = 0.0, 1.0


def write_parametric_map(series: Series, probability: Floats, provenance: Provenance) -> Dataset:
    """Write ``probability`` [k, j, i], 0-1, on ``series.grid``: one frame a slice, in the order of the slices.

    Raises
    ------
    ValueError
        Another grid than the source's, or a source without a frame of reference.
    """
    source.demand_grid(series, probability.shape)
    result = ParametricMap(
        source_images=source.slices(series),
        pixel_array=probability,
        **provenance.identity(ROLE, SERIES_NUMBER),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping()],
        voi_lut_transformations=[VOILUTTransformation((LOWEST + HIGHEST) / 2, HIGHEST - LOWEST)],
        content_label=CONTENT_LABEL,
        content_description=CONTENT_DESCRIPTION,
        content_creator_name="",
        content_qualification="RESEARCH",
        series_description=SERIES_DESCRIPTION,
    )
    _order(result, probability)
    source.refer(result, series)
    source.pin_dimensions(result, ROLE, provenance)
    source.sign(result, series.headers[0], provenance)
    _place_in_the_brain(result)
    return result


def _mapping() -> RealWorldValueMapping:
    """Say that the stored values are the probability itself (PS3.3 C.7.6.16.2.11)."""
    return RealWorldValueMapping(
        lut_label="AI score",
        lut_explanation="AI tumour score from 0 to 1, not calibrated",
        unit=codes.SCORE,
        value_range=(LOWEST, HIGHEST),
        quantity_definition=codes.PROBABILITY,
    )


def _order(result: Dataset, probability: Floats) -> None:
    """Put the frames in the order of the slices, along the cross product of row and column.

    highdicom sorts them by their positions' x, y and z. OHIF 3.13 takes them as they come, and would show the map of an
    oblique series upside down.
    """
    frames = sorted(result.PerFrameFunctionalGroupsSequence, key=_slice_of)
    for number, frame in enumerate(frames, start=1):
        frame.FrameContentSequence[0].DimensionIndexValues = [number]
    result.PerFrameFunctionalGroupsSequence = frames
    result.FloatPixelData = np.ascontiguousarray(probability, dtype="<f4").tobytes()


def _slice_of(frame: Dataset) -> int:
    behind = frame.DerivationImageSequence[0].SourceImageSequence[0]
    return source.slice_of(behind.ReferencedSOPInstanceUID)


def _place_in_the_brain(result: Dataset) -> None:
    """Name the anatomy of all frames (PS3.3 C.7.6.16.2.8): dcmqi, and 3D Slicer with it, crashes without."""
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(codes.SITES["brain"])]
    anatomy.FrameLaterality = "B"
    result.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    result.BodyPartExamined = "BRAIN"
