"""Is every attribute there that the IOD of an object requires? A walk over the module tables of PS3.3, item by item.

The tables are data that highdicom ships. Its functions for them are private names of a pinned library: a test asks for
each IOD and module that we rely on, so that a newer release cannot empty this walk unseen.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ParametricMapStorage, SegmentationStorage

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
PLACED = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "FrameContentSequence")
DERIVED = ("DerivationImageSequence",)
# The tables name each functional group in both sequences. One of the two must hold it, for an object that was derived
# from images in a frame of reference (PS3.3 A.51.5, A.75.5).
MACROS: Mapping[str, tuple[str, ...]] = {
    SegmentationStorage: (*PLACED, *DERIVED, "SegmentIdentificationSequence"),
    ParametricMapStorage: (*PLACED, *DERIVED, "RealWorldValueMappingSequence", "ParametricMapFrameTypeSequence"),
}
CONTENT = "sr-document-content"
NAMED = frozenset({"TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"})
# What a content item needs follows from its value type (PS3.3 C.17.3.2, C.18): the tables put all of them in each item.
VALUE_TYPES: Mapping[str, frozenset[str]] = {
    "ConceptNameCodeSequence": NAMED,
    "ContinuityOfContent": frozenset({"CONTAINER"}),
    "TextValue": frozenset({"TEXT"}),
    "MeasuredValueSequence": frozenset({"NUM"}),
    "ConceptCodeSequence": frozenset({"CODE"}),
    "DateTime": frozenset({"DATETIME"}),
    "Date": frozenset({"DATE"}),
    "Time": frozenset({"TIME"}),
    "UID": frozenset({"UIDREF"}),
    "PersonName": frozenset({"PNAME"}),
    "ReferencedSOPSequence": frozenset({"COMPOSITE", "IMAGE", "WAVEFORM"}),
    "GraphicData": frozenset({"SCOORD", "SCOORD3D"}),
    "GraphicType": frozenset({"SCOORD", "SCOORD3D"}),
    "ReferencedFrameOfReferenceUID": frozenset({"SCOORD3D"}),
    "TemporalRangeType": frozenset({"TCOORD"}),
    "TabulatedValuesSequence": frozenset({"TABLE"}),
}
BY_STRICTNESS = ("1", "2", "1C", "2C", "3")


@dataclass
class Rule:
    """What one attribute must be: its type (PS3.5 7.4), the value types it belongs to, the rules of its items."""

    tag: BaseTag
    type: str
    value_types: frozenset[str] = frozenset()
    items: "Rules" = field(default_factory=dict)


Rules = dict[str, Rule]


def missing(result: Dataset) -> Iterator[str]:
    """Name every type 1 and type 2 attribute that is missing, and every type 1 attribute that is empty, by its path.

    Modules that are not mandatory are walked where the object has an attribute that only they define.
    """
    sop_class_uid = str(result.get("SOPClassUID", ""))
    if sop_class_uid not in get_sop_class_iod_map():
        yield f"no IOD is known for SOP class {sop_class_uid or 'none'}"
        return
    owned = _owned(sop_class_uid)
    absent = {module for module, tags in owned.items() if not any(tag in result for tag in tags)}
    yield from _walk(result, _rules(sop_class_uid, frozenset(absent)), "")
    yield from _absent_macros(result, MACROS.get(sop_class_uid, ()))


def _walk(item: Dataset, rules: Rules, place: str) -> Iterator[str]:
    for keyword, rule in rules.items():
        if rule.value_types and item.get("ValueType") not in rule.value_types:
            continue
        if rule.tag not in item:
            if rule.type == "1":
                yield f"{place}{keyword} is required and missing or empty"
            elif rule.type == "2":
                yield f"{place}{keyword} must be present, if only empty"
            continue
        element = item[rule.tag]
        if rule.type == "1" and element.is_empty:
            yield f"{place}{keyword} is required and missing or empty"
        elif rule.items:
            for number, below in enumerate(element.value or [], start=1):
                yield from _walk(below, rule.items, f"{place}{keyword}[{number}].")


def _absent_macros(result: Dataset, macros: Iterable[str]) -> Iterator[str]:
    shared = (result.get(FUNCTIONAL_GROUPS[0]) or [Dataset()])[0]
    frames = result.get(FUNCTIONAL_GROUPS[1]) or [Dataset()]
    for keyword in macros:
        if keyword not in shared and not all(keyword in frame for frame in frames):
            yield f"{keyword} is required in the functional groups, shared or of each frame"


def _modules(sop_class_uid: str) -> list[dict[str, str]]:
    modules: list[dict[str, str]] = get_iod_module_map()[get_sop_class_iod_map()[sop_class_uid]]
    return modules


@cache
def _owned(sop_class_uid: str) -> dict[str, list[BaseTag]]:
    """Give each module that is not mandatory the top attributes that no other module of its IOD has."""
    table = get_module_attribute_map()
    tops = {
        module["key"]: {row["keyword"] for row in table[module["key"]] if not row["path"]}
        for module in _modules(sop_class_uid)
    }
    owned = {}
    for module in _modules(sop_class_uid):
        if module["usage"] != "M":
            others = set().union(*(keywords for key, keywords in tops.items() if key != module["key"]))
            owned[module["key"]] = [_tag(keyword) for keyword in tops[module["key"]] - others]
    return owned


@cache
def _rules(sop_class_uid: str, absent: frozenset[str]) -> Rules:
    """Merge the modules that are there into one tree; of two types for one attribute the stricter holds."""
    rules: Rules = {}
    for module in _modules(sop_class_uid):
        if module["key"] not in absent:
            for row in get_module_attribute_map()[module["key"]]:
                _add(rules, row["keyword"], row["type"], row["path"], module["key"])
    _prune(rules)
    if (content := rules.get("ContentSequence")) is not None:
        content.items["ContentSequence"] = content  # the tables end at the first level of the content tree
    return rules


def _add(rules: Rules, keyword: str, kind: str, path: list[str], module: str) -> None:
    for step in path:
        rules = rules[step].items
    value_types: frozenset[str] = frozenset()
    if module == CONTENT and path in ([], ["ContentSequence"]) and keyword in VALUE_TYPES:
        value_types = VALUE_TYPES[keyword]
        kind = "2" if kind == "2" else "1"
    elif path and path[-1] in FUNCTIONAL_GROUPS:
        kind = "3"
    rule = rules.setdefault(keyword, Rule(_tag(keyword), kind, value_types))
    rule.type = min(rule.type, kind, key=BY_STRICTNESS.index)


def _prune(rules: Rules) -> None:
    """Drop what asks for nothing: nine tenths of the tables are optional or conditional."""
    for keyword, rule in list(rules.items()):
        _prune(rule.items)
        if rule.type not in ("1", "2") and not rule.items:
            del rules[keyword]


def _tag(keyword: str) -> BaseTag:
    return BaseTag(tag_for_keyword(keyword) or 0)
