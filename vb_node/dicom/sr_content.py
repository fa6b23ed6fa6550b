"""The measurement groups of a report: lesions, class probabilities or why there are none, and the study as a whole.

The layout is the one that OHIF, Weasis, 3D Slicer and dcmtk were seen to show whole (PS3.16 TID 1411, 1501, 4019).
"""

from collections.abc import Sequence
from typing import Any

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from vb_node.dicom import codes, sentence
from vb_node.dicom.provenance import MANUFACTURER, Provenance
from vb_node.dicom.sentence import degree, lesion_name, lower_first, ranked_percents, shown
from vb_node.dicom.sr_tree import find
from vb_node.errors import Unfit
from vb_node.types import Diagnosis, Finding, Prior

Group = sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations

DISCLAIMER = "Research use only. AI output, not verified, not a diagnosis. To be read by a physician, with the images."
SYNTHETIC = (
    "The model weights were trained on generated phantoms only, never on patients: no clinical performance is claimed, "
    "and a class probability says nothing about this patient beyond a demonstration."
)
NO_CLAIM = "No clinical performance is claimed for the model weights."
SITE_NOTE = (
    "Site and side are those of most of the lesion's voxels, by the nearest region of an atlas (MNI152): "
    "a coarse aid to find it."
)


def lesion(finding: Finding, segmentation: Dataset, provenance: Provenance) -> Group:
    """Report one lesion and its segment (TID 1411)."""
    tracking_uid = provenance.tracking_uid(finding.label)
    segment = next((item for item in segmentation.SegmentSequence if item.TrackingUID == tracking_uid), None)
    if segment is None:
        raise ValueError(f"the Segmentation has no segment for lesion {finding.label}")
    source_series_uid = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid, lesion_name(finding)),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            int(segment.SegmentNumber),
            source_series=sr.SourceSeriesForSegmentation(source_series_uid),
        ),
        finding_category=codes.ABNORMAL_STRUCTURE,
        finding_type=codes.NEOPLASM,
        finding_sites=[sr.FindingSite(codes.SITES[finding.site], codes.LATERALITY.get(finding.laterality))],
        algorithm_id=_algorithm(provenance, ()),
        measurements=_measurements(finding),
    )
    for item in find(group[0], codes.SOURCE_SERIES):
        item.ConceptNameCodeSequence[0].CodeMeaning = codes.SOURCE_SERIES.meaning  # highdicom writes it in capitals
    return group


def _measurements(finding: Finding) -> list[sr.Measurement]:
    lengths = (
        (codes.DIAMETER, finding.diameter_mm),
        (codes.LONG_AXIS, finding.long_axis_mm),
        (codes.SHORT_AXIS, finding.short_axis_mm),
    )
    volume = sr.Measurement(codes.VOLUME, round(finding.volume_mm3, 1), codes.CUBIC_MILLIMETRE, method=codes.VOXEL_SUM)
    return [volume, *(sr.Measurement(name, round(mm, 1), codes.MILLIMETRE) for name, mm in lengths)]


def diagnosis_groups(diagnosis: Diagnosis, provenance: Provenance) -> list[Group]:
    """Report the class probabilities, most probable first; of an undetermined diagnosis only that it is none.

    A row of probabilities under an undetermined diagnosis would be read as one, so it is left out.
    """
    if not diagnosis.is_determined:
        return [_undetermined(diagnosis, provenance)]
    percents = ranked_percents(diagnosis.probabilities)
    return [_probability(name, percent, provenance) for name, percent in percents.items()]


def _probability(name: str, percent: float, provenance: Provenance) -> Group:
    probability = sr.Measurement(codes.PROBABILITY, percent, codes.PERCENT)
    title = f"Class probability: {name}"
    return _group(title, provenance, finding_type=codes.CLASSES[name], measurements=[probability])


def _undetermined(diagnosis: Diagnosis, provenance: Provenance) -> Group:
    impression = sr.QualitativeEvaluation(codes.IMPRESSION, codes.UNDETERMINED)
    group = _group("Tumour class: not determined", provenance, qualitative_evaluations=[impression])
    _comment(group, f"Tumour class not determined: {diagnosis.reason}")
    if diagnosis.novelty is not None:
        _comment(group, f"Distance to the training data: {diagnosis.novelty:.2f} of the threshold (above 1: unlike it)")
    return group


def study(
    findings: Sequence[Finding], prior: Prior, diagnosis: Diagnosis, notes: Sequence[str], provenance: Provenance
) -> Group:
    """Report the whole: how many lesions, how sure, with what weights, and what all this may not be used for."""
    group = _group(
        "Summary of the analysis",
        provenance,
        algorithm_id=_algorithm(provenance, _settings(provenance)),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(codes.SUMMARY, _outcome(findings, prior)),
            sr.QualitativeEvaluation(codes.LOCALISATION, codes.LOCALISATION_STATES[prior.state]),
            _claim(provenance),
        ],
        measurements=[
            _count(len(findings)),
            sr.Measurement(codes.LOCALISATION_SCORE, shown(prior.confidence), codes.SCORE),
        ],
    )
    whole = sentence.analysed(findings, prior, diagnosis, provenance)
    said = [whole, DISCLAIMER, claim_in_words(provenance), _localisation_in_words(prior), *_revision(provenance)]
    for text in dict.fromkeys((*said, *([SITE_NOTE] if findings else []), *prior.notes, *notes)):
        _comment(group, text)
    return group


def _outcome(findings: Sequence[Finding], prior: Prior) -> Code:
    """Code what the algorithms gave; an unreliable localisation is no clean negative."""
    if findings:
        return codes.SUCCEEDED_WITH_FINDINGS
    return codes.NOT_ALL_SUCCEEDED if prior.state == "unreliable" else codes.SUCCEEDED_WITHOUT_FINDINGS


def _count(lesions: int) -> sr.Measurement:
    measurement = sr.Measurement(codes.NUMBER_OF_LESIONS, lesions, codes.COUNT)
    measurement[0].MeasuredValueSequence[0].NumericValue = str(lesions)  # highdicom writes 2.0 lesions
    return measurement


def not_analysed(error: Unfit, provenance: Provenance) -> Group:
    """Report that a series was not analysed, and why; no count of lesions, as none was looked for."""
    reason = codes.reason_for(error)
    group = _group(
        "Not analysed",
        provenance,
        algorithm_id=_algorithm(provenance, _settings(provenance)),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(codes.SUMMARY, codes.NONE_SUCCEEDED),
            sr.QualitativeEvaluation(codes.REASON, reason),
            _claim(provenance),
        ],
    )
    why = f"Not analysed: {lower_first(reason.meaning)}. {error}".rstrip()
    whole = sentence.not_analysed(reason.meaning, provenance)
    for text in (why, whole, DISCLAIMER, claim_in_words(provenance), *_revision(provenance)):
        _comment(group, text)
    return group


def _localisation_in_words(prior: Prior) -> str:
    score = f"{shown(prior.confidence):.2f} on a scale 0 to 1"
    is_found = prior.state == "localised"
    how = f"with {degree(prior.confidence)} confidence ({score})" if is_found else f"the best candidate has {score}"
    return (
        f"Localisation: {prior.state}, {how}. "
        "The figure is an uncalibrated score, not a probability: it does not say how often such a result is right."
    )


def _revision(provenance: Provenance) -> list[str]:
    number = provenance.revision
    return [f"Revision {number}: supersedes revision {number - 1} of the report of this series."] if number > 1 else []


def _claim(provenance: Provenance) -> sr.QualitativeEvaluation:
    claim = codes.SYNTHETIC_ONLY if provenance.is_trained_on_synthetic_data else codes.NO_CLAIM
    return sr.QualitativeEvaluation(codes.CLAIM, claim)


def claim_in_words(provenance: Provenance) -> str:
    """Say what the weights can claim."""
    return SYNTHETIC if provenance.is_trained_on_synthetic_data else NO_CLAIM


def _settings(provenance: Provenance) -> list[str]:
    weights = [f"weights {name} sha256:{digest}" for name, digest in provenance.weights]
    return [*([provenance.parameters] if provenance.parameters else []), *weights]


def _algorithm(provenance: Provenance, parameters: Sequence[str]) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name=provenance.algorithm_name,
        version=provenance.algorithm_version,
        parameters=list(parameters) or None,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )


def _group(title: str, provenance: Provenance, **parts: Any) -> Group:
    """Make a group without a region (TID 1501); its tracking identifier is the title that viewers print."""
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(provenance.tracking_uid_of(title), title), **parts
    )


def _comment(group: Group, text: str) -> None:
    item = sr.TextContentItem(codes.COMMENT, text, sr.RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(item)
