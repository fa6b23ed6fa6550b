"""A lesion keeps its tracking UID through revisions, wherever it stands among the others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import affine, head, mr_series, turned
from results import SHAPE, enhanced, oblique, provenance, series_of, two_lesions

from vb_node.dicom.seg import write_seg
from vb_node.dicom.tracking import carried_on
from vb_node.types import Labels, Series

NAMES = {1: "one", 2: "two", 3: "three"}


def _before(series: Series, labels: Labels, folder: Path) -> tuple[Path, list[str]]:
    segmentation = write_seg(series, labels, provenance("job-1"), NAMES)
    segmentation.save_as(folder / "before.dcm", enforce_file_format=True)
    return folder / "before.dcm", [str(item.TrackingUID) for item in segmentation.SegmentSequence]


@pytest.mark.parametrize("make", [oblique, enhanced], ids=["oblique", "Enhanced"])
def test_lesions_that_changed_places_keep_their_tracking_uids(make: Callable[[], Series], tmp_path: Path) -> None:
    series, labels = make(), two_lesions()
    file, (first, third) = _before(series, labels, tmp_path)
    swapped = np.select([labels == 1, labels == 3], [2, 1]).astype(np.uint8)

    carried = carried_on(file, swapped, series.grid)

    assert carried == {2: first, 1: third}


def test_a_series_that_grew_at_its_lower_end_keeps_them(tmp_path: Path) -> None:
    instances = mr_series(head(SHAPE), affine((2.0, 1.0, 1.0)))
    late, labels = series_of(instances), two_lesions()
    file, uids = _before(series_of(instances[5:]), labels[5:], tmp_path)

    carried = carried_on(file, labels, late.grid)

    assert [carried[1], carried[3]] == uids


def test_a_new_lesion_gets_a_tracking_uid_of_its_own(tmp_path: Path) -> None:
    series, labels = oblique(), two_lesions()
    file, (kept,) = _before(series, np.where(labels == 1, 1, 0).astype(np.uint8), tmp_path)

    carried = carried_on(file, labels, series.grid)
    second = provenance("job-2", carried=carried)

    assert carried == {1: kept}
    assert second.tracking_uid(1) == kept
    assert second.tracking_uid(3) not in {kept, provenance("job-1").tracking_uid(3)}


def test_a_lesion_that_fell_apart_keeps_it_in_its_larger_piece(tmp_path: Path) -> None:
    series, labels = oblique(), two_lesions()
    whole = np.where(labels == 1, 1, 0).astype(np.uint8)
    file, (kept,) = _before(series, whole, tmp_path)
    pieces = whole.copy()
    pieces[:9] *= 2

    carried = carried_on(file, pieces, series.grid)

    larger = int(np.bincount(pieces[pieces > 0]).argmax())
    assert carried == {larger: kept}


def test_another_frame_of_reference_carries_nothing(tmp_path: Path) -> None:
    file, _ = _before(oblique(), two_lesions(), tmp_path)

    assert carried_on(file, two_lesions(), oblique().grid) == {}


def test_positions_that_are_rounded_carry_on_all_the_same(tmp_path: Path) -> None:
    instances, labels = mr_series(head(SHAPE), affine((1.5, 1.0, 1.0), turned(7.0))), two_lesions()
    for instance in instances:
        instance.ImagePositionPatient = [f"{float(value):.1f}" for value in instance.ImagePositionPatient]
    late = series_of(instances)
    file, uids = _before(series_of(instances[3:]), labels[3:], tmp_path)

    carried = carried_on(file, labels, late.grid)

    assert [carried[1], carried[3]] == uids


@pytest.mark.parametrize("kept", [0, 200, 4000])
def test_a_damaged_file_carries_nothing_and_stops_nothing(kept: int, tmp_path: Path) -> None:
    series, labels = oblique(), two_lesions()
    file, _ = _before(series, labels, tmp_path)
    file.write_bytes(file.read_bytes()[:kept])

    assert carried_on(file, labels, series.grid) == {}
