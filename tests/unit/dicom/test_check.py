"""A check is worth what it catches: faults are seeded into good results, one at a time."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from results import (
    NOTHING,
    SHAPE,
    analysis_of,
    enhanced,
    oblique,
    provenance,
    two_lesions,
    written,
)

from vb_node.dicom import codes
from vb_node.dicom.check import check_key_image, check_not_analysed, check_result
from vb_node.dicom.key_image import write_key_image
from vb_node.dicom.sr import SOP_CLASSES, as_class, write_not_analysed, write_report
from vb_node.dicom.sr_tree import find
from vb_node.errors import BadResult, NoBrain

Fault = Callable[[Dataset, Dataset], None]
SERIES, LABELS = oblique(), two_lesions()
REPORT, SEGMENTATION = written(SERIES, LABELS, provenance())


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


def _empty_type_1(report: Dataset, _: Dataset) -> None:
    report.DeviceSerialNumber = ""


def _missing_type_2(report: Dataset, _: Dataset) -> None:
    del report.AccessionNumber


def _other_patient(report: Dataset, _: Dataset) -> None:
    report.PatientID = "SOMEBODY-ELSE"


def _product(_: Dataset, segmentation: Dataset) -> None:
    segmentation.ContentQualification = "PRODUCT"


def _fractional(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SegmentationType = "FRACTIONAL"


def _in_the_sources_series(_: Dataset, segmentation: Dataset) -> None:
    segmentation.SeriesInstanceUID = SERIES.series_instance_uid


def _not_known_as_ours(_: Dataset, segmentation: Dataset) -> None:
    segmentation.Manufacturer = "A scanner"


def _title_of_any_report(report: Dataset, _: Dataset) -> None:
    report.ConceptNameCodeSequence[0].CodeValue = "126000"


def _continuous(report: Dataset, _: Dataset) -> None:
    find(report, codes.MEASUREMENT_GROUP)[0].ContinuityOfContent = "CONTINUOUS"


def _other_template(report: Dataset, _: Dataset) -> None:
    report.ContentTemplateSequence[0].TemplateIdentifier = "2000"


def _verified(report: Dataset, _: Dataset) -> None:
    report.VerificationFlag = "VERIFIED"


def _wrong_segment_number(report: Dataset, _: Dataset) -> None:
    find(report, codes.REFERENCED_SEGMENT)[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 2


def _other_segmentation(report: Dataset, _: Dataset) -> None:
    find(report, codes.REFERENCED_SEGMENT)[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = generate_uid()


def _probabilities_that_do_not_sum(report: Dataset, _: Dataset) -> None:
    find(report, codes.PROBABILITY)[0].MeasuredValueSequence[0].NumericValue = "77.5"


def _probabilities_of_the_undetermined(report: Dataset, _: Dataset) -> None:
    claim = find(report, codes.CLAIM)[0]
    claim.ConceptNameCodeSequence = [_coded(codes.IMPRESSION)]
    claim.ConceptCodeSequence = [_coded(codes.UNDETERMINED)]


def _wrong_volume(report: Dataset, _: Dataset) -> None:
    find(report, codes.VOLUME)[0].MeasuredValueSequence[0].NumericValue = "1.0"


def _miscounted(report: Dataset, _: Dataset) -> None:
    find(report, codes.NUMBER_OF_LESIONS)[0].MeasuredValueSequence[0].NumericValue = "1"


def _evidence_lost(report: Dataset, _: Dataset) -> None:
    del report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[1]


def _disclaimer_lost(report: Dataset, _: Dataset) -> None:
    for item in find(report, codes.COMMENT):
        item.TextValue = item.TextValue.replace("not a diagnosis", "a diagnosis")


def _claim_lost(report: Dataset, _: Dataset) -> None:
    find(report, codes.CLAIM)[0].ConceptNameCodeSequence = [_coded(codes.REASON)]


def _coded(code: codes.Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


FAULTS: dict[Fault, str] = {
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
    _empty_type_1: "DeviceSerialNumber is required",
    _missing_type_2: "AccessionNumber must be present",
    _other_patient: "PatientID is not the source's",
    _product: "not qualified as RESEARCH",
    _fractional: "not a BINARY",
    _in_the_sources_series: "stands in the series of its source",
    _not_known_as_ours: "would start a job",
    _title_of_any_report: "the title is not 126001",
    _continuous: "not SEPARATE",
    _other_template: "the template is not 1500",
    _verified: "claims to be verified",
    _wrong_segment_number: "refers to segment 2, which is not its own",
    _other_segmentation: "another object than its Segmentation",
    _probabilities_that_do_not_sum: "sum to 106.0 %",
    _probabilities_of_the_undetermined: "says that the class is undetermined",
    _wrong_volume: "states 1.0 mm3",
    _miscounted: r"counts \[1.0\]",
    _evidence_lost: "evidence lists",
    _disclaimer_lost: "not a diagnosis",
    _claim_lost: "what its weights can claim",
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_seeded_fault_is_caught(fault: Fault, message: str) -> None:
    report, segmentation = deepcopy(REPORT), deepcopy(SEGMENTATION)

    fault(report, segmentation)

    with pytest.raises(BadResult, match=message):
        check_result(SERIES, LABELS, report, segmentation)


def test_good_results_pass() -> None:
    check_result(SERIES, LABELS, REPORT, SEGMENTATION)
    check_result(SERIES, LABELS, as_class(REPORT, SOP_CLASSES[2]), SEGMENTATION)


def test_a_good_result_of_an_enhanced_source_passes() -> None:
    series = enhanced()

    check_result(series, LABELS, *written(series, LABELS, provenance()))


def test_a_good_result_without_lesion_passes() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    report = write_report(SERIES, *analysis_of(SERIES, nothing, NOTHING, "not localised"), None, provenance())

    check_result(SERIES, nothing, report, None)


def test_a_report_that_hides_a_lesion_is_caught() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    report = write_report(SERIES, *analysis_of(SERIES, nothing, NOTHING, "not localised"), None, provenance())

    with pytest.raises(BadResult, match="the mask has 2"):
        check_result(SERIES, LABELS, report, None)


def test_a_report_without_analysis_passes() -> None:
    check_not_analysed(SERIES.headers, write_not_analysed(SERIES.headers, NoBrain(), provenance()))


def test_a_report_without_analysis_that_counts_lesions_is_caught() -> None:
    with pytest.raises(BadResult, match=r"no coded reason.*counts lesions"):
        check_not_analysed(SERIES.headers, REPORT)


def test_a_key_image_that_does_not_warn_is_caught() -> None:
    picture = write_key_image(SERIES, np.zeros(SHAPE, np.float32), [], [], provenance())
    check_key_image(SERIES, picture)

    picture.BurnedInAnnotation = "NO"

    with pytest.raises(BadResult, match="burned in"):
        check_key_image(SERIES, picture)


def test_a_message_names_no_patient() -> None:
    report = deepcopy(REPORT)
    report.PatientID = "CANARY"

    with pytest.raises(BadResult) as caught:
        check_result(SERIES, LABELS, report, SEGMENTATION)

    assert "CANARY" not in str(caught.value)
    assert SERIES.headers[0].PatientID not in str(caught.value)
