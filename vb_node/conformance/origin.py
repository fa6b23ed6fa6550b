"""Where the value of each attribute comes from: told by writing the same objects of other sources and in other runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from vb_node.conformance import example

# The words of the Standard's template for the source of a value.
COPY, FIXED, AUTO = "COPY", "FIXED", "AUTO"
LONGEST = 60


@dataclass(frozen=True)
class Written:
    """One kind of object, with the origin of each of its attributes at the top level."""

    dataset: Dataset
    origins: Mapping[BaseTag, str]


def of_every_object() -> dict[str, Written]:
    """Write each kind of result from three pairs of source and run, and compare its attributes; by role."""
    runs = [example.objects(number, run) for number, run in ((1, 1), (2, 1), (1, 2))]
    sources = (example.source(1).headers[0], example.source(2).headers[0])
    return {role: Written(runs[0][role], _origins([run[role] for run in runs], sources)) for role in runs[0]}


def _origins(written: list[Dataset], sources: tuple[Dataset, Dataset]) -> dict[BaseTag, str]:
    return {element.tag: _origin(element, written, sources) for element in written[0]}


def _origin(element: DataElement, written: list[Dataset], sources: tuple[Dataset, Dataset]) -> str:
    values = [dataset[element.tag].value if element.tag in dataset else None for dataset in written]
    stated = [source[element.tag].value if element.tag in source else None for source in sources]
    if values[:2] == stated and stated[0] != stated[1]:
        return COPY
    if values[0] == values[1] == values[2]:
        return f"{FIXED}{_shown(element)}"
    return AUTO


def _shown(element: DataElement) -> str:
    """Show a value that is short, or that it is empty."""
    if element.is_empty:
        return " empty"
    if element.VR == "SQ" or isinstance(element.value, bytes):
        return ""
    text = "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)
    return f" `{text}`" if len(text) <= LONGEST else ""
