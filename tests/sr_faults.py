"""Faults to seed into a good report, one at a time, each with what the check in process says of it."""

from copy import deepcopy

from good_result import Fault
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from vb_node.dicom import codes
from vb_node.dicom.sr_tree import find

SITE = Code("363698007", "SCT", "Finding Site")


def _empty_type_1(report: Dataset, _: Dataset) -> None:
    report.DeviceSerialNumber = ""


def _missing_type_2(report: Dataset, _: Dataset) -> None:
    del report.AccessionNumber


def _other_patient(report: Dataset, _: Dataset) -> None:
    report.PatientID = "SOMEBODY-ELSE"


def _title_of_any_report(report: Dataset, _: Dataset) -> None:
    report.ConceptNameCodeSequence = [_coded(Code("126000", "DCM", "Imaging Measurement Report"))]


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


def _missing_unit(report: Dataset, _: Dataset) -> None:
    del find(report, codes.VOLUME)[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence


def _missing_value_of_a_code(report: Dataset, _: Dataset) -> None:
    del find(report, codes.CLAIM)[0].ConceptCodeSequence


def _missing_relationship(report: Dataset, _: Dataset) -> None:
    del find(report, codes.COMMENT)[0].RelationshipType


def _missing_template(report: Dataset, _: Dataset) -> None:
    del report.ContentTemplateSequence


def _missing_type_2_sequence(report: Dataset, _: Dataset) -> None:
    del report.PerformedProcedureCodeSequence


def _no_segment_number(report: Dataset, _: Dataset) -> None:
    del find(report, codes.REFERENCED_SEGMENT)[0].ReferencedSOPSequence[0].ReferencedSegmentNumber


def _other_class(report: Dataset, _: Dataset) -> None:
    report.SOPClassUID = "1.2.3.4"


def _other_study(report: Dataset, _: Dataset) -> None:
    report.StudyInstanceUID = generate_uid()


def _unknown_code(report: Dataset, _: Dataset) -> None:
    find(report, SITE)[0].ConceptCodeSequence[0].CodeValue = "42695008"


def _wrong_meaning(report: Dataset, _: Dataset) -> None:
    find(report, SITE)[0].ContentSequence[0].ConceptCodeSequence[0].CodeMeaning = "Left"


def _other_unit(report: Dataset, _: Dataset) -> None:
    find(report, codes.VOLUME)[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [_coded(codes.MILLIMETRE)]


def _evidence_of_an_instance_lost(report: Dataset, _: Dataset) -> None:
    del report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[3]


def _told_twice(report: Dataset, _: Dataset) -> None:
    groups = report.ContentSequence[-1].ContentSequence
    lesions = [place for place, group in enumerate(groups) if find(group, codes.VOLUME)]
    groups[lesions[1]].ContentSequence = deepcopy(groups[lesions[0]].ContentSequence)


def _no_reference(report: Dataset, _: Dataset) -> None:
    group = next(group for group in find(report, codes.MEASUREMENT_GROUP) if find(group, codes.VOLUME))
    group.ContentSequence = [item for item in group.ContentSequence if not find(item, codes.REFERENCED_SEGMENT)]


def _other_source_series(report: Dataset, _: Dataset) -> None:
    find(report, codes.SOURCE_SERIES)[0].UID = generate_uid()


def _other_name(report: Dataset, _: Dataset) -> None:
    report.PatientName = "Somebody^Else"


def _classes_lost(report: Dataset, _: Dataset) -> None:
    measurements = report.ContentSequence[-1]
    measurements.ContentSequence = [
        group for group in measurements.ContentSequence if not find(group, codes.PROBABILITY)
    ]


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


SR_FAULTS: dict[Fault, str] = {
    _empty_type_1: "DeviceSerialNumber is required",
    _missing_type_2: "AccessionNumber must be present",
    _other_patient: "PatientID is not the source's",
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
    _missing_unit: r"\[1\].MeasurementUnitsCodeSequence is required",
    _missing_value_of_a_code: "ConceptCodeSequence is required",
    _missing_relationship: "RelationshipType is required",
    _missing_template: "ContentTemplateSequence is required",
    _missing_type_2_sequence: "PerformedProcedureCodeSequence must be present",
    _no_segment_number: "refers to segment 0, which is not its own",
    _other_class: "no IOD is known for SOP class 1.2.3.4",
    _other_study: "StudyInstanceUID is not the source's",
    _unknown_code: r"code \(42695008, SCT\) is in no table",
    _wrong_meaning: r"code \(24028007, SCT\) means Right, not Left",
    _other_unit: "in mm, expected mm3",
    _evidence_of_an_instance_lost: "evidence lists",
    _told_twice: r"tells of segments \[1, 1\], not of each one once",
    _no_reference: "another object than its Segmentation",
    _other_source_series: "another source series",
    _other_name: "PatientName is not the source's",
    _classes_lost: "says nothing of the tumour class",
}
