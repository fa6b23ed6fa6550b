"""One sentence that a radiologist could paste: what was found, how sure it is, and what it is not."""

import math
from collections.abc import Mapping, Sequence

from vb_node.dicom.provenance import MODEL_NAME, Provenance
from vb_node.types import Diagnosis, Finding, Prior

_MOST_TENTHS = 999  # of a percent: a class is never certain


def analysed(findings: Sequence[Finding], prior: Prior, diagnosis: Diagnosis, provenance: Provenance) -> str:
    """Put a result into one sentence."""
    claims = f"{_lesions(findings, prior)}; {_classes(findings, diagnosis, provenance)}"
    return f"{_opening(provenance)}: {claims}."


def not_analysed(reason: str, provenance: Provenance) -> str:
    """Put into one sentence that a series was not analysed, and why; it says nothing about tumours."""
    return (
        f"{_opening(provenance)}: the series was not analysed ({lower_first(reason)}), nothing is said about tumours."
    )


def lesion_name(finding: Finding) -> str:
    """Name a lesion for people, side and site included: a viewer may hide the coded laterality."""
    return f"Lesion {finding.label} ({place(finding)})"


def place(finding: Finding) -> str:
    """Say where a lesion lies: side, and nearest region of the atlas."""
    if finding.laterality == "midline":
        return f"midline, {finding.site}"
    return f"{finding.laterality} {'side' if finding.site == 'brain' else finding.site}"


def shown(score: float) -> float:
    """Cut a score to two decimals: what is not calibrated is not rounded up to certainty."""
    return math.floor(100 * score) / 100


def ranked_percents(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Give probabilities that sum to 1 in percent with one decimal, most probable first; these sum to 100.

    What cutting off leaves goes where most was cut off (the largest remainder). No class is certain: 99.9 is the most,
    also of one that is alone.
    """
    exact = {name: 1000 * probabilities[name] for name in sorted(probabilities, key=lambda name: -probabilities[name])}
    tenths = {name: min(math.floor(share), _MOST_TENTHS) for name, share in exact.items()}
    not_full = [name for name in exact if tenths[name] < _MOST_TENTHS]
    left = max(1000 - sum(tenths.values()), 0)
    for name in sorted(not_full, key=lambda name: tenths[name] - exact[name])[:left]:
        tenths[name] += 1
    return {name: count / 10 for name, count in tenths.items()}


def degree(confidence: float) -> str:
    """Put a localisation confidence (0-1) into a word."""
    return "low" if confidence < 1 / 3 else "moderate" if confidence < 2 / 3 else "high"


def lower_first(text: str) -> str:
    """Begin with a small letter, as in the middle of a sentence."""
    return text[:1].lower() + text[1:]


def _opening(provenance: Provenance) -> str:
    facts = [f"{MODEL_NAME} {provenance.software_version}"]
    if provenance.series_number:
        facts.append(f"series {provenance.series_number}")
    if provenance.revision > 1:
        facts.append(f"revision {provenance.revision}, supersedes revision {provenance.revision - 1}")
    return f"Investigational AI output, not verified, not a diagnosis ({', '.join(facts)})"


def _lesions(findings: Sequence[Finding], prior: Prior) -> str:
    if not findings:
        doubt = "the localisation is unreliable and no lesion is reported" if prior.state == "unreliable" else ""
        score = f"the best candidate scores {shown(prior.confidence):.2f} of 1, not calibrated"
        return f"{doubt or 'no lesion was localised'}, which does not exclude a tumour ({score})"
    confidence = f"localisation confidence {degree(prior.confidence)} ({shown(prior.confidence):.2f}, not calibrated)"
    if len(findings) == 1:
        return f"one lesion ({_size(findings[0])}), {confidence}"
    listed = "; ".join(f"{finding.label}: {_size(finding)}" for finding in findings)
    return f"{len(findings)} lesions ({listed}), {confidence}"


def _size(finding: Finding) -> str:
    size = f"outlined volume {finding.volume_mm3 / 1000:.1f} mL, longest diameter {finding.diameter_mm:.0f} mm"
    return f"{place(finding)} by atlas, {size}"


def _classes(findings: Sequence[Finding], diagnosis: Diagnosis, provenance: Provenance) -> str:
    if not diagnosis.is_determined:
        return f"tumour class not determined ({diagnosis.reason})" if findings else "tumour class not determined"
    listed = ", ".join(f"{name} {percent:.1f} %" for name, percent in ranked_percents(diagnosis.probabilities).items())
    weights = " by weights trained on generated phantoms only" if provenance.is_classified_by_synthetic_data else ""
    return f"class probabilities{weights}: {listed}{_set(diagnosis)}"


def _set(diagnosis: Diagnosis) -> str:
    """Name the conformal set; of which cases its coverage holds is said by what the weights were trained on."""
    if diagnosis.coverage is None:
        return ""
    share, classes = round(100 * diagnosis.coverage), ", ".join(diagnosis.likely)
    return f"; the set that holds the true class in {share} % of cases held out of the training: {classes}"
