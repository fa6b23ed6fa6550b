"""What the statement says of the content of the reports, and of every code; read from reports that were written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from vb_node.conformance.markdown import table
from vb_node.dicom import codes
from vb_node.dicom.sr_tree import code_of, find

TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")


class Item(NamedTuple):
    """What a content item is and how deep it stands; equal items of different reports are one row."""

    depth: int
    name: str
    relationship: str
    value_type: str


def outline(reports: Iterable[Dataset]) -> str:
    """Write what reports hold: the document itself, then each kind of measurement group that is found in them."""
    whole = list(reports)
    kinds: dict[tuple[str, frozenset[Item]], list[Dataset]] = {}
    for group in (group for report in whole for group in find(report, codes.MEASUREMENT_GROUP)):
        kinds.setdefault((_template(group), frozenset(item for item, _ in _rows(group))), []).append(group)
    parts = [f"The document, TID {_template(whole[0])}:", _shown(whole)]
    for (template, _), groups in kinds.items():
        title = find(groups[0], TRACKING_IDENTIFIER)[0].TextValue
        parts += [f'A measurement group such as "{title}", TID {template}:', _shown(groups)]
    return "\n\n".join(parts)


def every_code() -> str:
    """List every code that ``codes`` holds, under the name that it has there."""
    return table(["Used for", "Codes"], [(name, "; ".join(map(told, found))) for name, found in _named_codes()])


def told(concept: Any) -> str:
    """Write a code as the Standard does: (value, scheme, "meaning")."""
    return f'({concept.value}, {concept.scheme_designator}, "{concept.meaning}")'


def _rows(item: Dataset, depth: int = 0) -> Iterator[tuple[Item, str]]:
    """Give an item and what it holds, but nothing of the measurement groups in it."""
    name = code_of(item, "ConceptNameCodeSequence")
    yield Item(depth, told(name), item.get("RelationshipType", ""), item.ValueType), _value(item)
    for child in item.get("ContentSequence", []):
        is_group = code_of(child, "ConceptNameCodeSequence") == codes.MEASUREMENT_GROUP
        rows = _rows(child, depth + 1)
        yield from [next(rows)] if is_group else rows


def _shown(alike: Iterable[Dataset]) -> str:
    """Write content trees that have the same items as one table, with all values that were seen."""
    seen: dict[Item, list[str]] = {}
    for item in alike:
        for row, value in _rows(item):
            values = seen.setdefault(row, [])
            if value and value not in values:
                values.append(value)
    rows = [(f"{'>' * item.depth} {item.name}".lstrip(), *item[2:], "; ".join(values)) for item, values in seen.items()]
    return table(["Content item", "Relationship", "VT", "Value"], rows)


def _template(item: Dataset) -> str:
    return str(item.ContentTemplateSequence[0].TemplateIdentifier)


def _value(item: Dataset) -> str:
    """Say what a content item holds: a code, a unit, or the SOP class referred to; nothing of a text."""
    if (coded := code_of(item, "ConceptCodeSequence")) is not None:
        return told(coded)
    if item.ValueType == "NUM":
        return f"in {told(code_of(item.MeasuredValueSequence[0], 'MeasurementUnitsCodeSequence'))}"
    if "ReferencedSOPSequence" in item:
        return str(item.ReferencedSOPSequence[0].ReferencedSOPClassUID.name)
    return ""


def _named_codes() -> Iterator[tuple[str, list[Code]]]:
    for name, value in vars(codes).items():
        if isinstance(value, Code):
            yield _in_words(name), [value]
        elif isinstance(value, Mapping) and name.isupper():
            yield _in_words(name), list(value.values())


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize()
