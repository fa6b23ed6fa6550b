"""Walking the content tree of an SR document, whoever wrote it (PS3.3 C.17.3)."""

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code


def walk(item: Dataset) -> Iterator[Dataset]:
    """Give a content item and everything below it, in the order of the document."""
    yield item
    for child in item.get("ContentSequence") or []:
        yield from walk(child)


def find(item: Dataset, name: Code) -> list[Dataset]:
    """Find the content items of one concept name, at any depth."""
    return [found for found in walk(item) if code_of(found, "ConceptNameCodeSequence") == name]


def code_of(item: Dataset, sequence: str) -> Code | None:
    """Read the code in ``sequence``: ConceptNameCodeSequence for the name, ConceptCodeSequence for the value."""
    coded = item.get(sequence)
    return Code(coded[0].CodeValue, coded[0].CodingSchemeDesignator, coded[0].CodeMeaning) if coded else None


def number(item: Dataset) -> float:
    """Read the value of a NUM item."""
    return float(item.MeasuredValueSequence[0].NumericValue)
