"""docs/reliability.md says which case of the catalogue is tested where: it must say what is true."""

import re
from collections.abc import Iterator

from places import ROOT

COUNTS = {"A": 30, "T": 6, "D": 32, "X": 14, "R": 20, "L": 10, "P": 12, "W": 20, "K": 8, "E": 12}
CATALOGUE = {f"{letter}-{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)}
TESTED_ROW = re.compile(r"^\| `((?:unit|integration|acceptance)/\S+\.py)` \| (.+) \|$", re.MULTILINE)
UNTESTED_ROW = re.compile(r"^\| ([A-Z]-\d\d\b.*?) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"^def test_((?:[a-z]_\d\d_)+)", re.MULTILINE)


def _section() -> str:
    return (ROOT / "docs" / "reliability.md").read_text().partition("## The catalogue")[2]


def _ids(words: str) -> Iterator[str]:
    """Read ``A-01, D-03 to D-05``."""
    for part in words.split(", "):
        first, _, last = part.partition(" to ")
        for number in range(int(first[2:]), int((last or first)[2:]) + 1):
            yield f"{first[0]}-{number:02}"


def _named() -> set[tuple[str, str]]:
    """Give (file, id) of every test whose name carries an id."""
    tests = ROOT / "tests"
    return {
        (str(path.relative_to(tests)), case.upper().replace("_", "-"))
        for path in tests.rglob("test_*.py")
        for ids in NAME.findall(path.read_text())
        for case in re.findall(r"[a-z]_\d\d", ids)
    }


def test_the_table_of_tested_cases_is_what_the_names_of_the_tests_say() -> None:
    told = {(file, case) for file, ids in TESTED_ROW.findall(_section()) for case in _ids(ids)}

    assert told == _named()


def test_every_other_case_has_its_reason() -> None:
    rows = UNTESTED_ROW.findall(_section())

    untested = {case for ids, why in rows if why for case in _ids(ids)}

    assert untested == CATALOGUE - {case for _, case in _named()}
