"""Every object is walked over the module tables of its IOD, into nested sequences, and quickly."""

import time
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from factories import affine, head, mr_series
from good_result import REPORT, SEGMENTATION
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)
from results import provenance, series_of

from vb_node.dicom.modules import missing
from vb_node.dicom.seg import write_seg
from vb_node.dicom.sr import SOP_CLASSES, as_class
from vb_node.dicom.sr_tree import walk

MODULES = {
    SegmentationStorage: {"segmentation-image", "segmentation-multi-frame-functional-groups", "multi-frame-dimension"},
    ParametricMapStorage: {"parametric-map-image", "parametric-map-multi-frame-functional-groups"},
    SecondaryCaptureImageStorage: {"sc-equipment", "sc-image", "image-pixel"},
    EncapsulatedPDFStorage: {"encapsulated-document-series", "encapsulated-document"},
    **dict.fromkeys(SOP_CLASSES, {"sr-document-series", "sr-document-general", "sr-document-content"}),
}
EVERYWHERE = {"patient", "general-study", "sop-common"}


@pytest.mark.parametrize("sop_class_uid", MODULES, ids=lambda uid: uid.name)
def test_the_library_still_ships_the_tables_that_the_walk_relies_on(sop_class_uid: str) -> None:
    modules = get_iod_module_map()[get_sop_class_iod_map()[sop_class_uid]]

    mandatory = {module["key"] for module in modules if module["usage"] == "M"}

    assert mandatory >= MODULES[sop_class_uid] | EVERYWHERE
    assert all({"keyword", "type", "path"} <= set(get_module_attribute_map()[key][0]) for key in mandatory)


def test_good_results_miss_nothing() -> None:
    for result in (REPORT, SEGMENTATION, *(as_class(REPORT, sop_class_uid) for sop_class_uid in SOP_CLASSES)):
        assert list(missing(result)) == []


def _without(*path: str) -> Callable[[Dataset], None]:
    def take_away(result: Dataset) -> None:
        for keyword in path[:-1]:
            result = result[keyword].value[0]
        delattr(result, path[-1])

    return take_away


def _emptied(keyword: str) -> Callable[[Dataset], None]:
    def empty(result: Dataset) -> None:
        result[keyword].value = [] if result[keyword].VR == "SQ" else None

    return empty


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_without("ImageType"), "ImageType is required and missing or empty"),
        (_without("ContentDescription"), "ContentDescription must be present, if only empty"),
        (_emptied("ContentLabel"), "ContentLabel is required and missing or empty"),
        (_emptied("SegmentSequence"), "SegmentSequence is required and missing or empty"),
        (_emptied("ContentDescription"), None),
        (
            _without("SegmentSequence", "SegmentationAlgorithmIdentificationSequence", "AlgorithmVersion"),
            "SegmentSequence[1].SegmentationAlgorithmIdentificationSequence[1].AlgorithmVersion is required",
        ),
        (
            _without("ContributingEquipmentSequence", "PurposeOfReferenceCodeSequence"),
            "ContributingEquipmentSequence[1].PurposeOfReferenceCodeSequence is required",
        ),
        (
            _without("SharedFunctionalGroupsSequence", "PixelMeasuresSequence"),
            "PixelMeasuresSequence is required in the functional groups, shared or of each frame",
        ),
        (
            _without("PerFrameFunctionalGroupsSequence", "FrameContentSequence"),
            "FrameContentSequence is required in the functional groups, shared or of each frame",
        ),
        (_without("PositionReferenceIndicator"), "PositionReferenceIndicator must be present"),
    ],
)
def test_what_a_segmentation_misses_is_named_by_its_path(spoil: Callable[[Dataset], None], fault: str | None) -> None:
    segmentation = deepcopy(SEGMENTATION)

    spoil(segmentation)

    found = list(missing(segmentation))
    assert len(found) == (0 if fault is None else 1)
    assert all(one.startswith(fault or "") for one in found)


def test_a_module_that_no_attribute_tells_of_asks_for_nothing() -> None:
    segmentation = deepcopy(SEGMENTATION)
    del segmentation.FrameOfReferenceUID, segmentation.PositionReferenceIndicator

    assert list(missing(segmentation)) == []


@pytest.mark.parametrize(
    ("value_type", "keyword"),
    [
        ("CONTAINER", "ContinuityOfContent"),
        ("TEXT", "TextValue"),
        ("NUM", "MeasuredValueSequence"),
        ("CODE", "ConceptCodeSequence"),
        ("UIDREF", "UID"),
        ("IMAGE", "ReferencedSOPSequence"),
    ],
)
def test_each_content_item_needs_what_its_value_type_asks_for(value_type: str, keyword: str) -> None:
    report = deepcopy(REPORT)
    deepest = [item for item in walk(report) if item.ValueType == value_type][-1]

    delattr(deepest, keyword)

    (found,) = missing(report)
    assert found.startswith("ContentSequence[")
    assert keyword in found.rpartition(".")[2]


def test_an_object_of_an_unknown_class_is_named() -> None:
    result = Dataset()
    result.SOPClassUID = generate_uid()

    (found,) = missing(result)

    assert found.startswith("no IOD is known")


def test_two_hundred_frames_are_walked_in_less_than_a_third_of_a_second() -> None:
    series = series_of(mr_series(head((200, 24, 24)), affine()))
    segmentation = write_seg(series, np.ones((200, 24, 24), np.uint8), provenance(), {1: "Lesion 1"})
    list(missing(SEGMENTATION))  # the tables are read once for a process

    start = time.process_time()
    found = list(missing(segmentation))
    took_s = time.process_time() - start

    assert (len(segmentation.PerFrameFunctionalGroupsSequence), found) == (200, [])
    assert took_s < 0.3
