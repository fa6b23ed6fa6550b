"""Who else sees a seeded fault: validators and readers of others, beside the check in process; the docs hold it."""

import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from good_result import LABELS, REPORT, SEGMENTATION, SERIES, Fault
from places import ROOT
from pydicom import dcmread
from pydicom.dataset import Dataset
from seg_faults import SEG_FAULTS
from sr_faults import SR_FAULTS
from validators import PLACE, dciodvfy, dcmqi_masks, dcmqi_report, pixelmed

from vb_node.dicom.check import check_result
from vb_node.errors import BadResult

SHOWN = {
    "mask mirrored along the rows": "_mirror_columns",
    "mask mirrored along the columns": "_mirror_rows",
    "mask mirrored along the slices": "_mirror_slices",
    "every frame one slice further": "_shift_by_one_slice",
    "the same, with references to match": "_move_to_the_next_slice",
    "one voxel lost": "_lose_a_voxel",
    "orientation turned about": "_turn",
    "another frame of reference": "_other_frame_of_reference",
    "segments exchanged": "_swap_segments",
    "two segments with one tracking UID": "_one_tracking_uid",
    "type 1 missing (Content Label)": "_missing_type_1",
    "type 1 missing in an item (Segment Label)": "_missing_type_1_of_a_segment",
    "wrong meaning of a segment's type": "_wrong_meaning_of_a_segment",
    "wrong segment number in the report": "_wrong_segment_number",
    "title 126000": "_title_of_any_report",
    "CONTINUOUS": "_continuous",
    "type 1 missing in an item (units)": "_missing_unit",
    "type 2 missing (Accession Number)": "_missing_type_2",
    "probabilities that sum to 106 %": "_probabilities_that_do_not_sum",
    "wrong volume": "_wrong_volume",
    "evidence lacks an instance": "_evidence_of_an_instance_lost",
    "another study": "_other_study",
    "unknown code": "_unknown_code",
    "wrong meaning of a side": "_wrong_meaning",
}
BY_NAME = {fault.__name__: fault for fault in SEG_FAULTS | SR_FAULTS}
HEAD = ["| fault | in process | dciodvfy | PixelMed | dcmqi |", "|---|---|---|---|---|"]


def _spoilt(fault: Fault, folder: Path) -> tuple[Path, Path]:
    """Write the report and the Segmentation with a fault in one of them."""
    report, segmentation = deepcopy(REPORT), deepcopy(SEGMENTATION)
    fault(report, segmentation)
    folder.mkdir()
    report.save_as(folder / "SR.dcm", enforce_file_format=True)
    segmentation.save_as(folder / "SEG.dcm", enforce_file_format=True)
    return folder / "SR.dcm", folder / "SEG.dcm"


def _is_caught_in_process(report: Dataset, segmentation: Dataset) -> bool:
    try:
        check_result(SERIES, LABELS, report, segmentation)
    except BadResult:
        return True
    return False


def _kinds(complaints: Sequence[str]) -> set[str]:
    """Leave out where in the document it is, and the path to it, which begins with the title."""
    return {re.sub(r"/CONTAINER \(12600.*?\)", "", PLACE.sub("", line)) for line in complaints}


def _is_seen_by_dcmqi(report: Path, segmentation: Path, expected: dict[str, Any]) -> bool:
    """Is either object read as something else than the good one, or not at all?"""
    try:
        shown = dcmqi_masks(segmentation, segmentation.parent / "masks", SERIES)
        read = dcmqi_report(report, report.parent)
    except AssertionError:
        return True
    # The second lesion has label 3, and is the second segment.
    return not np.array_equal(shown, np.minimum(LABELS, 2)) or read != expected


def _row(words: str, *is_seen: bool) -> str:
    return f"| {words} | {' | '.join('yes' if seen else '-' for seen in is_seen)} |"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Seed each fault and ask everybody; PixelMed is asked once for all."""
    root = tmp_path_factory.mktemp("faults")
    good, good_segmentation = _spoilt(lambda *_: None, root / "good")
    spoilt = {words: _spoilt(BY_NAME[name], root / name) for words, name in SHOWN.items()}
    reports = [report for report, _ in spoilt.values() if report.read_bytes() != good.read_bytes()]
    judged = {path: _kinds(lines) for path, lines in pixelmed([good, *reports]).items()}
    expected = dcmqi_report(good, good.parent)
    accepted = _kinds([*dciodvfy(good), *dciodvfy(good_segmentation)])
    return [
        _row(
            words,
            _is_caught_in_process(dcmread(report), dcmread(segmentation)),
            not _kinds([*dciodvfy(report), *dciodvfy(segmentation)]) <= accepted,
            not judged.get(report, set()) <= judged[good],
            _is_seen_by_dcmqi(report, segmentation, expected),
        )
        for words, (report, segmentation) in spoilt.items()
    ]


def test_every_fault_is_caught_in_process(table: list[str]) -> None:
    assert [row for row in table if row.split("|")[2].strip() != "yes"] == []


def test_the_docs_say_who_sees_which_fault(table: list[str]) -> None:
    stated = "\n".join([*HEAD, *table])

    assert stated in (ROOT / "docs" / "results.md").read_text(), f"docs/results.md should hold:\n{stated}"
