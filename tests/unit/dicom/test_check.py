"""A check is worth what it catches: faults are seeded into good results, one at a time."""

from copy import deepcopy

import numpy as np
import pytest
from good_result import LABELS, REPORT, SEGMENTATION, SERIES, Fault
from results import NOTHING, SHAPE, analysis_of, enhanced, provenance, write_key_image, written
from seg_faults import SEG_FAULTS
from sr_faults import SR_FAULTS

from vb_node.dicom.check import check_key_image, check_not_analysed, check_result
from vb_node.dicom.sr import SOP_CLASSES, as_class, write_not_analysed, write_report
from vb_node.errors import BadResult, NoBrain

FAULTS = SEG_FAULTS | SR_FAULTS


@pytest.mark.parametrize(("fault", "message"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
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


def test_a_key_image_of_another_series_is_caught() -> None:
    picture = write_key_image(SERIES, np.zeros(SHAPE, np.float32), [], [], provenance())

    picture.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"

    with pytest.raises(BadResult, match="not of its series"):
        check_key_image(SERIES, picture)


def test_a_message_names_no_patient() -> None:
    report = deepcopy(REPORT)
    report.PatientID = "CANARY"

    with pytest.raises(BadResult) as caught:
        check_result(SERIES, LABELS, report, SEGMENTATION)

    assert "CANARY" not in str(caught.value)
    assert SERIES.headers[0].PatientID not in str(caught.value)
