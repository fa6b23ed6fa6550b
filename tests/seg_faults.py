"""Faults to seed into a good Segmentation, one at a time, each with what the check in process says of it."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from good_result import SERIES, Fault
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from results import SHAPE


def _frames(segmentation: Dataset) -> np.ndarray:
    count = int(segmentation.NumberOfFrames) * SHAPE[1] * SHAPE[2]
    bits = np.unpackbits(np.frombuffer(segmentation.PixelData, np.uint8), bitorder="little")[:count]
    return bits.reshape(-1, *SHAPE[1:])


def _put(segmentation: Dataset, frames: np.ndarray) -> None:
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    segmentation.PixelData = packed + b"\0" * (len(packed) % 2)


def _mirror_columns(_: Dataset, segmentation: Dataset) -> None:
    _put(segmentation, _frames(segmentation)[:, :, ::-1])


def _mirror_rows(_: Dataset, segmentation: Dataset) -> None:
    _put(segmentation, _frames(segmentation)[:, ::-1])


def _mirror_slices(_: Dataset, segmentation: Dataset) -> None:
    _stand_on(segmentation, lambda k: len(SERIES.planes) - 1 - k)


def _move_to_the_next_slice(_: Dataset, segmentation: Dataset) -> None:
    _stand_on(segmentation, lambda k: k + 1)


def _stand_on(segmentation: Dataset, other: Callable[[int], int]) -> None:
    """Put every frame on another slice, position and reference alike."""
    places = [plane.sop_instance_uid for plane in SERIES.planes]
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        behind = frame.DerivationImageSequence[0].SourceImageSequence[0]
        header = SERIES.headers[other(places.index(behind.ReferencedSOPInstanceUID))]
        frame.PlanePositionSequence[0].ImagePositionPatient = header.ImagePositionPatient
        frame.DerivationImageSequence = deepcopy(frame.DerivationImageSequence)  # highdicom shares it between frames
        behind = frame.DerivationImageSequence[0].SourceImageSequence[0]
        behind.ReferencedSOPInstanceUID = header.SOPInstanceUID


def _swap_frames(_: Dataset, segmentation: Dataset) -> None:
    _put(segmentation, _frames(segmentation)[::-1])


def _lose_a_voxel(_: Dataset, segmentation: Dataset) -> None:
    frames = _frames(segmentation).copy()
    frames[tuple(np.argwhere(frames)[0])] = 0
    _put(segmentation, frames)


def _shift_by_one_slice(_: Dataset, segmentation: Dataset) -> None:
    step = SERIES.grid.affine_lps[:3, 0]
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{v:.8f}" for v in np.array(place.ImagePositionPatient, dtype=float) + step]


def _shift_by_half_a_millimetre(_: Dataset, segmentation: Dataset) -> None:
    place = segmentation.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = [float(place.ImagePositionPatient[0]) + 0.5, *place.ImagePositionPatient[1:]]


def _refer_to_the_next_slice(_: Dataset, segmentation: Dataset) -> None:
    behind = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    places = [plane.sop_instance_uid for plane in SERIES.planes]
    behind.ReferencedSOPInstanceUID = places[places.index(behind.ReferencedSOPInstanceUID) + 1]


def _swap_segments(_: Dataset, segmentation: Dataset) -> None:
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = 3 - item.ReferencedSegmentNumber


def _turn(_: Dataset, segmentation: Dataset) -> None:
    item = segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    item.ImageOrientationPatient = [-float(value) for value in item.ImageOrientationPatient]


def _swap_spacing(_: Dataset, segmentation: Dataset) -> None:
    item = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    item.PixelSpacing = list(item.PixelSpacing)[::-1]


def _wrong_step(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 2


def _other_frame_of_reference(_: Dataset, segmentation: Dataset) -> None:
    segmentation.FrameOfReferenceUID = generate_uid()


def _forget_a_source(_: Dataset, segmentation: Dataset) -> None:
    del segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]


def _one_tracking_uid(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SegmentSequence[1].TrackingUID = segmentation.SegmentSequence[0].TrackingUID


def _missing_type_1(_: Dataset, segmentation: Dataset) -> None:
    del segmentation.ContentLabel


def _product(_: Dataset, segmentation: Dataset) -> None:
    segmentation.ContentQualification = "PRODUCT"


def _fractional(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SegmentationType = "FRACTIONAL"


def _in_the_sources_series(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SeriesInstanceUID = SERIES.series_instance_uid


def _not_known_as_ours(_: Dataset, segmentation: Dataset) -> None:
    segmentation.Manufacturer = "A scanner"


def _missing_type_1_of_a_segment(_: Dataset, segmentation: Dataset) -> None:
    del segmentation.SegmentSequence[1].SegmentLabel


def _missing_place_of_a_frame(_: Dataset, segmentation: Dataset) -> None:
    del segmentation.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def _empty_sequence(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SegmentSequence = []


def _wrong_meaning_of_a_segment(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Necrosis"


def _tracking_uid_lost(_: Dataset, segmentation: Dataset) -> None:
    del segmentation.SegmentSequence[0].TrackingUID


def _frames_miscounted(_: Dataset, segmentation: Dataset) -> None:
    segmentation.NumberOfFrames = int(segmentation.NumberOfFrames) - 1


SEG_FAULTS: dict[Fault, str] = {
    _mirror_columns: "does not show the mask",
    _mirror_rows: "does not show the mask",
    _swap_frames: "does not show the mask",
    _lose_a_voxel: "does not show the mask",
    _shift_by_one_slice: "refers to another slice",
    _shift_by_half_a_millimetre: "0.500 mm from the nearest slice",
    _refer_to_the_next_slice: "refers to another slice",
    _swap_segments: "does not show the mask",
    _turn: "orientation or spacing",
    _swap_spacing: "orientation or spacing",
    _wrong_step: "orientation or spacing",
    _other_frame_of_reference: "another frame of reference",
    _forget_a_source: "not the whole source series",
    _one_tracking_uid: "share a tracking UID",
    _missing_type_1: "ContentLabel is required",
    _product: "not qualified as RESEARCH",
    _fractional: "not a BINARY",
    _in_the_sources_series: "stands in the series of its source",
    _not_known_as_ours: "would start a job",
    _mirror_slices: "does not show the mask",
    _move_to_the_next_slice: "does not show the mask",
    _missing_type_1_of_a_segment: r"SegmentSequence\[2\].SegmentLabel is required",
    _missing_place_of_a_frame: "PlanePositionSequence is required",
    _empty_sequence: "SegmentSequence is required",
    _wrong_meaning_of_a_segment: r"SegmentSequence\[1\].*means Neoplasm, not Necrosis",
    _tracking_uid_lost: "share a tracking UID, or have none",
    _frames_miscounted: "frames and places",
}
