"""No code is trusted from memory: each is looked up in a table that somebody else keeps."""

import json
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from vb_node import errors
from vb_node.dicom import codes
from vb_node.errors import MissingSlices, NoBrain, Unfit

NCIT = json.loads((Path(__file__).parent / "ncit.json").read_text())


def _collect() -> list[Code]:
    found: list[Code] = []
    for value in vars(codes).values():
        if isinstance(value, Code):
            found.append(value)
        elif isinstance(value, dict):
            found += [code for code in value.values() if isinstance(code, Code)]
    return found


ALL = _collect()
PUBLISHED = [code for code in ALL if code.scheme_designator in {"DCM", "SCT", "LN", "IBSI"}]
# A template of PS3.16 words it otherwise than the context groups do.
BY_TEMPLATE = {codes.FINDING_CATEGORY}
PRIVATE = [code for code in ALL if code.scheme_designator == codes.PRIVATE_SCHEME]


def _meanings(code: Code) -> set[str]:
    by_keyword = concepts[code.scheme_designator].values()
    return {found[code.value][0].lower() for found in by_keyword if code.value in found}


@pytest.mark.parametrize("code", PUBLISHED, ids=lambda code: f"{code.scheme_designator} {code.value}")
def test_each_published_code_has_the_meaning_that_the_standard_gives_it(code: Code) -> None:
    meanings = _meanings(code)

    assert code in BY_TEMPLATE or any(meaning.startswith(code.meaning.lower()) for meaning in meanings), meanings


@pytest.mark.parametrize("name", ["Glioma", "PCNSL", "Germinoma"])
def test_each_class_has_the_meaning_that_the_nci_thesaurus_gives_it(name: str) -> None:
    code = codes.CLASSES[name]

    assert code.scheme_designator == "NCIt"
    assert code.meaning in NCIT["codes"][code.value]


def test_every_code_is_looked_up_somewhere_or_ours() -> None:
    schemes = {code.scheme_designator for code in ALL}

    assert schemes == {"DCM", "SCT", "LN", "IBSI", "UCUM", "RFC5646", "NCIt", codes.PRIVATE_SCHEME}


def test_units_are_ucum_or_annotations_in_braces() -> None:
    units = [code for code in ALL if code.scheme_designator == "UCUM"]

    assert all(_meanings(unit) or unit.value.startswith("{") for unit in units)


def test_private_codes_are_unique_and_fit_their_attributes() -> None:
    values = [code.value for code in PRIVATE]

    assert len(values) == len(set(values))
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in ALL)


def test_every_kind_of_unfit_series_has_its_own_code() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Unfit)}

    assert kinds - {"Unfit"} == set(codes.REASONS)


def test_a_reason_is_found_by_its_class_or_the_nearest_parent() -> None:
    class NoNose(NoBrain):
        pass

    assert codes.reason_for(MissingSlices()) == codes.REASONS["MissingSlices"]
    assert codes.reason_for(NoNose()) == codes.REASONS["NoBrain"]
    assert codes.reason_for(Unfit()) == codes.UNFIT


def _item(value: str, scheme_designator: str, meaning: str, keyword: str = "CodeValue") -> Dataset:
    item = Dataset()
    setattr(item, keyword, value)
    item.CodingSchemeDesignator, item.CodeMeaning = scheme_designator, meaning
    return item


def _holding(item: Dataset) -> Dataset:
    """Put a coded item two levels deep, under a sequence that knows nothing of codes."""
    group, holder = Dataset(), Dataset()
    group.AnatomicRegionSequence = [_item("12738006", "SCT", "Brain"), item]
    holder.SegmentSequence = [Dataset(), group]
    return holder


@pytest.mark.parametrize(
    "item",
    [
        _item("12738006", "SCT", "Brain"),
        _item("31428008", "SCT", "Corpus striatum"),
        _item("113076", "DCM", "Segmentation"),
        _item("C3059", "NCIt", "Glioma"),
        _item("RARE", codes.PRIVATE_SCHEME, "Rare or other entity"),
        _item("{lesions}", "UCUM", "lesions"),
    ],
    ids=lambda item: str(item.CodeMeaning),
)
def test_a_code_of_any_table_is_known(item: Dataset) -> None:
    assert list(codes.unknown(_holding(item))) == []


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (_item("12738007", "SCT", "Brain"), "code (12738007, SCT) is in no table"),
        (_item("12738006", "DCM", "Brain"), "code (12738006, DCM) is in no table"),
        (_item("C9301", "NCIt", "Glioma"), "means Primary central nervous system lymphoma, not Glioma"),
        (_item("12738006", "SCT", "brain"), "means Brain, not brain"),
        (_item("A-LONG-CODE-OF-MORE-THAN-16", "SCT", "Brain", "LongCodeValue"), "is in no table"),
    ],
    ids=["value", "scheme", "meaning", "case", "long"],
)
def test_an_unknown_code_and_a_wrong_meaning_are_named_with_their_place(item: Dataset, fault: str) -> None:
    found = list(codes.unknown(_holding(item)))

    assert len(found) == 1
    assert found[0].startswith("SegmentSequence[2].AnatomicRegionSequence[2]: ")
    assert found[0].endswith(fault)


def test_codes_copied_from_a_source_are_not_ours_to_judge() -> None:
    holder = Dataset()
    holder.ProcedureCodeSequence = [_item("MR-HEAD-7", "99SITE", "Head, our protocol 7")]

    assert list(codes.unknown(holder, ("ProcedureCodeSequence",))) == []
    assert list(codes.unknown(holder)) == ["ProcedureCodeSequence[1]: code (MR-HEAD-7, 99SITE) is in no table"]
