"""The report says what was found, how sure, and what it may not be used for, in words and in codes."""

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from results import (
    DETERMINED,
    NOTHING,
    SHAPE,
    UNDETERMINED,
    analysis_of,
    enhanced,
    oblique,
    provenance,
    reread,
    to_bytes,
    two_lesions,
    written,
)

from vb_node.dicom import codes
from vb_node.dicom.check import check_result
from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.seg import write_seg
from vb_node.dicom.sentence import lesion_name, ranked_percents
from vb_node.dicom.sr import SOP_CLASSES, as_class, write_not_analysed, write_report
from vb_node.dicom.sr_tree import code_of, find, number, walk
from vb_node.errors import MissingSlices, NoBrain
from vb_node.types import Diagnosis

EMPTY = np.zeros(SHAPE, np.uint8)


def _report(diagnosis: Diagnosis = DETERMINED) -> Dataset:
    series, labels = oblique(), two_lesions()
    analysis = analysis_of(series, labels, diagnosis)
    names = {finding.label: lesion_name(finding) for finding in analysis.findings}
    segmentation = write_seg(series, labels, provenance(), names)
    return write_report(series, *analysis, segmentation, provenance(), ("coil on one side", "thick slices"))


def _nothing_found() -> Dataset:
    series = oblique()
    return write_report(series, *analysis_of(series, EMPTY, NOTHING, "not localised"), None, provenance())


def _comments(report: Dataset) -> str:
    return "\n".join(item.TextValue for item in find(report, codes.COMMENT))


def _value(report: Dataset, name: object) -> object:
    return code_of(find(report, name)[0], "ConceptCodeSequence")


def test_highdicom_reads_every_lesion_with_its_segment() -> None:
    report, segmentation = written(oblique(), two_lesions(), provenance())

    groups = Comprehensive3DSR.from_dataset(reread(report)).content.get_volumetric_roi_measurement_groups()

    assert [group.tracking_uid for group in groups] == [item.TrackingUID for item in segmentation.SegmentSequence]
    assert [group.get_measurements(codes.VOLUME)[0].unit.value for group in groups] == ["mm3", "mm3"]
    assert [group.tracking_identifier for group in groups] == [item.TrackingID for item in segmentation.SegmentSequence]


def test_the_layout_is_the_one_that_viewers_show() -> None:
    report = _report()

    containers = [item for item in walk(report) if item.get("ValueType") == "CONTAINER"]
    assert code_of(report, "ConceptNameCodeSequence") == codes.REPORT_TITLE
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}
    assert not [item for item in walk(report) if item.get("ValueType") in {"SCOORD", "SCOORD3D"}]


def test_classes_come_most_probable_first_and_sum_to_100_percent() -> None:
    report = _report()

    percents = [number(item) for item in find(report, codes.PROBABILITY)]

    assert percents == [71.5, 20.0, 5.0, 3.5]


def test_an_undetermined_class_is_coded_and_told_and_shows_no_probability() -> None:
    report = _report(UNDETERMINED)

    assert _value(report, codes.IMPRESSION) == codes.UNDETERMINED
    assert "not determined: unlike the data" in _comments(report)
    assert "1.70 of the threshold" in _comments(report)
    assert not find(report, codes.PROBABILITY)
    assert "Glioma" not in report.to_json()


def test_a_result_without_lesion_counts_0_and_names_no_segmentation() -> None:
    report = _nothing_found()

    assert [number(item) for item in find(report, codes.NUMBER_OF_LESIONS)] == [0]
    assert _value(report, codes.SUMMARY) == codes.SUCCEEDED_WITHOUT_FINDINGS
    assert _value(report, codes.LOCALISATION) == codes.LOCALISATION_STATES["not localised"]
    assert not find(report, codes.REFERENCED_SEGMENT)


def test_the_confidence_is_told_as_a_score_that_is_not_calibrated() -> None:
    report = _report()

    assert number(find(report, codes.LOCALISATION_SCORE)[0]) == 0.41
    assert "localised, with moderate confidence (0.41" in _comments(report)
    assert "uncalibrated score, not a probability" in _comments(report)


def test_it_says_what_it_may_not_be_used_for_and_what_the_weights_can_claim() -> None:
    for report in (_report(), _nothing_found(), write_not_analysed(oblique().headers, NoBrain(), provenance())):
        assert "Research use only. AI output, not verified, not a diagnosis." in _comments(report)
        assert "no clinical performance is claimed" in _comments(report)
        assert _value(report, codes.CLAIM) == codes.SYNTHETIC_ONLY


def test_weights_of_a_site_claim_nothing_either() -> None:
    made_by = provenance(is_trained_on_synthetic_data=False)

    report = write_not_analysed(oblique().headers, NoBrain(), made_by)

    assert _value(report, codes.CLAIM) == codes.NO_CLAIM


def test_notes_weights_and_settings_stand_in_the_report() -> None:
    report = _report()

    parameters = [
        item.TextValue for item in walk(report) if item.get("TextValue", "").startswith(("weights", "localizer"))
    ]
    assert _comments(report).count("thick slices") == 1
    assert "coil on one side" in _comments(report)
    assert parameters == ["localizer=classical", f"weights diagnoser sha256:{'ab' * 32}"]


def test_nobody_has_verified_it() -> None:
    report = _report()

    assert (report.CompletionFlag, report.PreliminaryFlag) == ("COMPLETE", "PRELIMINARY")
    assert report.VerificationFlag == "UNVERIFIED"
    assert "VerifyingObserverSequence" not in report


def test_evidence_is_every_source_instance_and_the_segmentation() -> None:
    series, labels = enhanced(), two_lesions()

    report, segmentation = written(series, labels, provenance())

    listed = [
        item.ReferencedSOPInstanceUID
        for one in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    ]
    assert listed == [series.headers[0].SOPInstanceUID, segmentation.SOPInstanceUID]


def test_a_revision_names_its_predecessor() -> None:
    previous = Predecessor(SOP_CLASSES[0], "1.2.3", "1.2.4", "1.2.5")

    report = write_not_analysed(oblique().headers, NoBrain(), provenance(predecessor=previous))

    study = report.PredecessorDocumentsSequence[0]
    document = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert (study.StudyInstanceUID, document.ReferencedSOPInstanceUID) == ("1.2.5", "1.2.3")


def test_a_refusal_is_another_instance_than_the_report_that_a_retry_may_write_and_can_be_named_by_it() -> None:
    headers = oblique().headers
    refusal = write_not_analysed(headers, NoBrain(), provenance().of_refusal("NO_BRAIN"))
    uids = (refusal.SOPClassUID, refusal.SOPInstanceUID, refusal.SeriesInstanceUID, refusal.StudyInstanceUID)
    retried = provenance(predecessor=Predecessor(*map(str, uids)))

    again = write_not_analysed(headers, NoBrain(), retried.of_refusal("NO_BRAIN"))
    otherwise = write_not_analysed(headers, MissingSlices(), retried.of_refusal("MISSING_SLICES"))

    assert refusal.SOPInstanceUID != _report().SOPInstanceUID
    assert to_bytes(again) == to_bytes(refusal)
    assert otherwise.SOPInstanceUID != refusal.SOPInstanceUID
    named = otherwise.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == refusal.SOPInstanceUID


def test_an_unreliable_localisation_is_no_clean_negative() -> None:
    report = write_report(oblique(), *analysis_of(oblique(), EMPTY, NOTHING, "unreliable"), None, provenance())

    assert _value(report, codes.SUMMARY) == codes.NOT_ALL_SUCCEEDED


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda shares: sum(shares) > 0.01))
def test_percents_sum_to_100_and_none_is_off_by_more_than_its_last_decimal(shares: list[float]) -> None:
    probabilities = {f"class {n}": share / sum(shares) for n, share in enumerate(shares)}

    percents = ranked_percents(probabilities)

    assert sum(percents.values()) == pytest.approx(100, abs=1e-9)
    assert list(percents.values()) == sorted(percents.values(), reverse=True)
    assert all(abs(percent - 100 * probabilities[name]) < 0.1 + 1e-9 for name, percent in percents.items())
    assert max(percents.values()) <= 99.9


def test_no_probability_is_certainty() -> None:
    sure = Diagnosis({"Glioma": 0.9997, "PCNSL": 0.0001, "Germinoma": 0.0001, "Rare": 0.0001}, True, "")
    series, labels = oblique(), two_lesions()
    _, segmentation = written(series, labels, provenance())

    report = write_report(series, *analysis_of(series, labels, sure), segmentation, provenance())

    percents = [number(item) for item in find(report, codes.PROBABILITY)]
    assert max(percents) == 99.9
    assert sum(percents) == pytest.approx(100, abs=1e-9)
    check_result(series, labels, report, segmentation)


def test_a_series_that_was_not_analysed_is_told_why_in_words_and_in_code() -> None:
    error = MissingSlices("expected a step of 1.00 mm, came 2.00 mm after slice 7")

    report = write_not_analysed(oblique().headers, error, provenance())

    assert _value(report, codes.REASON) == codes.REASONS["MissingSlices"]
    assert "Not analysed: slices missing. expected a step of 1.00 mm" in _comments(report)
    assert _value(report, codes.SUMMARY) == codes.NONE_SUCCEEDED
    assert not find(report, codes.NUMBER_OF_LESIONS)


def test_a_series_without_any_geometry_can_still_be_reported() -> None:
    headers = oblique().headers
    for header in headers:
        del header.ImagePositionPatient, header.FrameOfReferenceUID, header.PatientName

    report = write_not_analysed(headers, NoBrain(), provenance())

    assert report.StudyInstanceUID == headers[0].StudyInstanceUID


@pytest.mark.parametrize("sop_class_uid", SOP_CLASSES[1:])
def test_another_class_is_another_instance_with_the_same_content(sop_class_uid: str) -> None:
    report = _report()

    other = as_class(report, sop_class_uid)

    assert other.SOPClassUID == other.file_meta.MediaStorageSOPClassUID == sop_class_uid
    assert other.SOPInstanceUID != report.SOPInstanceUID
    assert to_bytes(as_class(report, sop_class_uid)) == to_bytes(other)
    assert other.ContentSequence == report.ContentSequence


def test_the_same_class_is_the_same_instance() -> None:
    report = _nothing_found()

    assert as_class(report, SOP_CLASSES[0]) is report


def test_a_class_that_cannot_hold_the_report_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        as_class(_nothing_found(), "1.2.840.10008.5.1.4.1.1.88.11")


def test_the_same_job_writes_the_same_bytes() -> None:
    series, labels = oblique(), two_lesions()

    assert to_bytes(written(series, labels, provenance())[0]) == to_bytes(written(series, labels, provenance())[0])


def test_findings_without_their_segmentation_are_refused() -> None:
    series = oblique()

    with pytest.raises(ValueError, match="2 findings came"):
        write_report(series, *analysis_of(series, two_lesions()), None, provenance())
