"""The one sentence of a report: complete, careful, and one sentence."""

from dataclasses import replace

import numpy as np
import pytest
from results import DETERMINED, NOTHING, UNDETERMINED, analysis_of, oblique, provenance, two_lesions

from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.sentence import analysed, not_analysed
from vb_node.types import Diagnosis

SERIES, LABELS = oblique(), two_lesions()
ONE = np.where(LABELS == 1, 1, 0).astype(np.uint8)


def _said(labels: np.ndarray, diagnosis: Diagnosis, state: str = "localised") -> str:
    findings, prior, judged = analysis_of(SERIES, labels, diagnosis, state)
    return analysed(findings, prior, judged, provenance())


def test_a_lesion_is_told_with_place_volume_diameter_confidence_and_classes() -> None:
    findings = analysis_of(SERIES, ONE).findings

    said = _said(ONE, DETERMINED)

    assert f"{findings[0].volume_mm3 / 1000:.1f} mL, longest diameter {findings[0].diameter_mm:.0f} mm" in said
    assert findings[0].site in said
    assert "localisation confidence moderate (0.41, not calibrated)" in said
    assert "Glioma 71.5 %, PCNSL 20.0 %, Germinoma 5.0 %, Rare 3.5 %" in said


def test_the_classes_that_cannot_be_excluded_are_named_with_their_coverage() -> None:
    said = _said(ONE, replace(DETERMINED, likely=("Glioma", "PCNSL"), coverage=0.9))

    assert "; the set that holds the true class in 90 % of cases held out of the training: Glioma, PCNSL" in said


def test_several_lesions_are_counted_and_keep_the_numbers_of_their_segments() -> None:
    said = _said(LABELS, DETERMINED)

    assert "2 lesions (1: " in said
    assert "; 3: " in said


def test_nothing_localised_excludes_no_tumour() -> None:
    said = _said(np.zeros_like(LABELS), NOTHING, "not localised")

    assert "no lesion was localised, which does not exclude a tumour" in said
    assert "the best candidate scores 0.41 of 1" in said
    assert "%" not in said


def test_the_series_and_the_revision_are_named() -> None:
    before = Predecessor("1.2", "1.2.3", "1.2.4", "1.2.5", revision=2)

    said = not_analysed("No brain recognised", provenance(series_number="7", predecessor=before))

    assert "(vb-node 0.1.0, series 7, revision 3, supersedes revision 2)" in said


def test_an_unreliable_localisation_is_told_as_such() -> None:
    assert "the localisation is unreliable and no lesion is reported" in _said(
        np.zeros_like(LABELS), NOTHING, "unreliable"
    )


def test_an_undetermined_class_gives_its_reason_and_no_figure() -> None:
    said = _said(ONE, UNDETERMINED)

    assert "tumour class not determined (unlike the data)" in said
    assert "Glioma" not in said


@pytest.mark.parametrize(
    "said",
    [_said(ONE, DETERMINED), _said(LABELS, UNDETERMINED), not_analysed("No brain recognised", provenance())],
    ids=["determined", "undetermined", "not analysed"],
)
def test_it_is_one_sentence_that_says_what_it_is_not(said: str) -> None:
    assert said.startswith("Investigational AI output, not verified, not a diagnosis (vb-node 0.1.0)")
    assert said.endswith(".")
    assert ". " not in said
    assert "\n" not in said
