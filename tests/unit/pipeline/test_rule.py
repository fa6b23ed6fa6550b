"""Rules: a closed grammar that never runs as Python."""

import pytest
from pydicom import Dataset

from vb_node.errors import ConfigError
from vb_node.pipeline import rule


@pytest.fixture
def header() -> Dataset:
    header = Dataset()
    header.Modality = "MR"
    header.SeriesDescription = "AX T1 +C"
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.RepetitionTime = "1900"
    header.ContrastBolusAgent = ""
    return header


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("", True),
        ('Modality == "MR"', True),
        ('Modality != "MR"', False),
        ('Modality == "MR" and SeriesDescription == "x"', False),
        ('Modality == "CT" or matches(SeriesDescription, "t1")', True),
        ('not matches(SeriesDescription, "test")', True),
        ('Modality in ("CT", "MR")', True),
        ('Modality not in ["CT", "MR"]', False),
        ('ImageType == "PRIMARY"', True),
        ("RepetitionTime < 2000", True),
        ("RepetitionTime >= 2000", False),
        ("present(ContrastBolusAgent)", False),
        ("present(SeriesDescription)", True),
        ('StationName == "MR1"', False),
        ('StationName != "MR1"', True),
        ("EchoTime < 5", False),
    ],
)
def test_a_rule_says_what_it_reads_like(header: Dataset, text: str, is_true: bool) -> None:
    assert rule.parse(text)(header) is is_true


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "Modality.__class__",
        "open('x')",
        "[x for x in Modality]",
        "lambda: 1",
        'Modality == "MR" and 1',
        "NoSuchKeyword == 1",
        "Modality ==",
        'matches(SeriesDescription, "(")',
        "Modality < SeriesDescription",
        'Modality is "MR"',
    ],
)
def test_what_the_grammar_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="rule"):
        rule.parse(text)
