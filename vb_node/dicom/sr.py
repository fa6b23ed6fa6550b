"""The Structured Report (TID 1500), and the one that says why there is none.

Its title is (126001, DCM) and its continuity SEPARATE because OHIF 3.11 to 3.13 show nothing or bare values otherwise.
It holds no SCOORD3D, so one tree is valid in three SOP classes: ``as_class`` serves a peer that takes an older one.
"""

from collections.abc import Sequence
from copy import deepcopy

import highdicom.sr as hd
from pydicom.dataset import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from vb_node.dicom import codes, source, sr_content, uid
from vb_node.dicom.provenance import MANUFACTURER, MODEL_NAME, REPORT_ROLE, Predecessor, Provenance
from vb_node.errors import Unfit
from vb_node.types import Diagnosis, Finding, Prior, Series

ROLE = REPORT_ROLE
SERIES_NUMBER = 9002
SERIES_DESCRIPTION = "AI tumour report, not verified"
# In the order in which a sender should propose them.
SOP_CLASSES = (Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage)


def write_report(  # noqa: PLR0913, PLR0917  the parts that a report has
    series: Series,
    findings: Sequence[Finding],
    prior: Prior,
    diagnosis: Diagnosis,
    segmentation: Dataset | None,
    provenance: Provenance,
    notes: Sequence[str] = (),
) -> Dataset:
    """Write the report of an analysed series; ``segmentation`` is None exactly when there is no finding.

    ``notes`` say what a reader should know of the processing, beside those of ``prior``.

    Raises
    ------
    ValueError
        Findings without a Segmentation, or a Segmentation that lacks one of them.
    """
    if bool(findings) != (segmentation is not None):
        raise ValueError(f"{len(findings)} findings came: a Segmentation belongs to findings, and to nothing else")
    shown = [segmentation] if segmentation is not None else []
    groups = [sr_content.lesion(finding, shown[0], provenance) for finding in findings]
    groups += sr_content.diagnosis_groups(diagnosis, provenance)
    groups.append(sr_content.study(findings, prior, diagnosis, notes, provenance))
    return _document(series.headers, shown, groups, provenance)


def write_not_analysed(headers: Sequence[Dataset], error: Unfit, provenance: Provenance) -> Dataset:
    """Write the report of a series that could not be analysed, from the bare headers of its instances.

    ``provenance`` is that of a refusal (``Provenance.of_refusal``).
    """
    return _document(headers, [], [sr_content.not_analysed(error, provenance)], provenance)


def as_class(report: Dataset, sop_class_uid: str) -> Dataset:
    """Copy a report into another SR class for a peer that takes no Comprehensive 3D SR; it is another instance.

    The report that it supersedes was sent to that peer in the same way, and is named as it was sent.
    """
    if sop_class_uid not in SOP_CLASSES:
        raise ValueError(f"expected one of {', '.join(SOP_CLASSES)}, came {sop_class_uid}")
    if sop_class_uid == report.SOPClassUID:
        return report
    copy = deepcopy(report)
    copy.SOPClassUID = copy.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = _as_sent(report.SOPInstanceUID, sop_class_uid)
    for study in copy.get("PredecessorDocumentsSequence", []):
        for before in (item for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence):
            if before.ReferencedSOPClassUID == report.SOPClassUID:
                before.ReferencedSOPClassUID = sop_class_uid
                before.ReferencedSOPInstanceUID = _as_sent(before.ReferencedSOPInstanceUID, sop_class_uid)
    return copy


def _as_sent(sop_instance_uid: str, sop_class_uid: str) -> UID:
    return UID(uid.derive(sop_instance_uid, sop_class_uid))


def _document(
    headers: Sequence[Dataset],
    shown: Sequence[Dataset],
    groups: Sequence[sr_content.Group],
    provenance: Provenance,
) -> Dataset:
    before = provenance.predecessor
    content = hd.MeasurementReport(
        observation_context=_observer(provenance),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        title=codes.REPORT_TITLE,
        language_of_content_item_and_descendants=hd.LanguageOfContentItemAndDescendants(
            hd.CodedConcept.from_code(codes.LANGUAGE)
        ),
    )
    _separate(content[0])
    document = hd.Comprehensive3DSR(
        evidence=[source.stand_in(headers[0]), *shown],
        content=content[0],
        **provenance.identity(ROLE, SERIES_NUMBER),
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=[_previous(before)] if before else None,
        series_description=SERIES_DESCRIPTION,
        coding_schemes=[codes.private_scheme()],
    )
    document.CurrentRequestedProcedureEvidenceSequence = _evidence([*headers, *shown])
    source.sign(document, headers[0], provenance)
    return document


def _evidence(instances: Sequence[Dataset]) -> list[Dataset]:
    """List every instance by study and series (PS3.3 C.17.2.2); highdicom would need a data set for each."""
    study = Dataset()
    study.StudyInstanceUID = instances[0].StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for series_instance_uid in dict.fromkeys(instance.SeriesInstanceUID for instance in instances):
        series = Dataset()
        members = [one for one in instances if one.SeriesInstanceUID == series_instance_uid]
        series.ReferencedSOPSequence = source.references(members)
        series.SeriesInstanceUID = series_instance_uid
        study.ReferencedSeriesSequence.append(series)
    return [study]


def _observer(provenance: Provenance) -> hd.ObservationContext:
    device = hd.DeviceObserverIdentifyingAttributes(
        uid=uid.derive(provenance.device_serial_number, "device"),
        name=f"{MODEL_NAME} {provenance.software_version}",
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=provenance.device_serial_number,
    )
    return hd.ObservationContext(
        observer_device_context=hd.ObserverContext(hd.CodedConcept.from_code(codes.DEVICE), device)
    )


def _separate(item: Dataset) -> None:
    """Set SEPARATE on every container: under highdicom's CONTINUOUS, viewers print values without their names."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)


def _previous(predecessor: Predecessor) -> Dataset:
    previous = Dataset()
    previous.SOPClassUID = predecessor.sop_class_uid
    previous.SOPInstanceUID = predecessor.sop_instance_uid
    previous.SeriesInstanceUID = predecessor.series_instance_uid
    previous.StudyInstanceUID = predecessor.study_instance_uid
    return previous
