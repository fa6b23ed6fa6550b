"""The Parametric Map holds the probability of every voxel, at its place, in the order that OHIF takes for granted."""

from collections.abc import Callable

import numpy as np
import pytest
from factories import SAGITTAL, affine, head, mr_series
from highdicom.pm import ParametricMap
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from results import SHAPE, enhanced, oblique, provenance, reread, score_map, series_of, to_bytes

from vb_node.dicom import codes
from vb_node.dicom.check_companions import check_parametric_map
from vb_node.dicom.parametric_map import write_parametric_map
from vb_node.dicom.sr_tree import code_of
from vb_node.errors import BadResult
from vb_node.types import Plane, Series

SOURCES = {
    "oblique, columns no multiple of 8": oblique,
    "Enhanced with phase frames": enhanced,
    "sagittal": lambda: series_of(mr_series(head(SHAPE), affine((1.0, 1.0, 1.0), SAGITTAL, (-12.0, -15.0, 18.0)))),
}
SERIES = oblique()


def _write(series: Series = SERIES) -> Dataset:
    return reread(write_parametric_map(series, score_map(), provenance()))


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
def source(request: pytest.FixtureRequest) -> Series:
    made: Series = request.param()
    return made


def test_frames_ascend_along_the_cross_product_of_row_and_column(source: Series) -> None:
    pmap = _write(source)

    shared = pmap.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    along_i, along_j = np.array(shared.ImageOrientationPatient, dtype=float).reshape(2, 3)
    places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in pmap.PerFrameFunctionalGroupsSequence]
    assert np.all(np.diff(np.array(places, dtype=float) @ np.cross(along_i, along_j)) > 0)


def test_every_value_is_exact_where_highdicom_places_it(source: Series) -> None:
    read = ParametricMap.from_dataset(_write(source)).get_volume(apply_real_world_transform=True)

    where = np.argwhere(np.ones(read.array.shape, bool))
    index = np.rint(source.grid.to_index(where @ read.affine[:3, :3].T + read.affine[:3, 3])).astype(int)
    assert np.array_equal(read.array[tuple(where.T)], score_map()[tuple(index.T)])
    check_parametric_map(source, score_map(), _write(source))


def test_every_frame_names_the_slice_it_stands_on(source: Series) -> None:
    frames = _write(source).PerFrameFunctionalGroupsSequence

    behind = [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in frames]
    named = tuple(Plane(item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")) for item in behind)
    assert named == source.planes
    assert {item.ReferencedSOPClassUID for item in behind} == {source.headers[0].SOPClassUID}


def test_the_indices_tell_the_order_of_the_frames() -> None:
    frames = _write().PerFrameFunctionalGroupsSequence

    indices = [frame.FrameContentSequence[0].DimensionIndexValues for frame in frames]

    assert indices == list(range(1, SHAPE[0] + 1))


def test_it_holds_float32_of_all_slices_and_shows_0_to_1() -> None:
    pmap = _write()

    window = pmap.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (pmap.BitsAllocated, pmap.NumberOfFrames) == (32, SHAPE[0])
    assert len(pmap.FloatPixelData) == 4 * score_map().size
    assert (float(window.WindowCenter), float(window.WindowWidth)) == (0.5, 1.0)


def test_its_quantity_is_a_probability_with_the_unit_of_a_score() -> None:
    mapping = _write().SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]

    assert code_of(mapping.QuantityDefinitionSequence[0], "ConceptCodeSequence") == codes.PROBABILITY
    assert code_of(mapping, "MeasurementUnitsCodeSequence") == codes.SCORE
    assert "not calibrated" in mapping.LUTExplanation


def test_it_says_that_it_is_ai_for_research_and_not_verified() -> None:
    pmap = _write()

    assert pmap.ContentQualification == "RESEARCH"
    assert "AI" in pmap.SeriesDescription
    assert "not verified" in pmap.SeriesDescription
    assert "not calibrated" in pmap.ContentDescription


def test_the_same_job_writes_the_same_bytes() -> None:
    assert to_bytes(write_parametric_map(SERIES, score_map(), provenance())) == to_bytes(
        write_parametric_map(SERIES, score_map(), provenance())
    )


def test_a_map_on_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, 30, 37\) expected"):
        write_parametric_map(SERIES, score_map((24, 37, 30)), provenance())


def _stored(pmap: Dataset) -> np.ndarray:
    return np.frombuffer(pmap.FloatPixelData, "<f4").reshape(SHAPE)


def _put_the_frames_in_highdicoms_order(pmap: Dataset) -> None:
    pmap.PerFrameFunctionalGroupsSequence = list(pmap.PerFrameFunctionalGroupsSequence)[::-1]
    pmap.FloatPixelData = _stored(pmap)[::-1].tobytes()


def _mirror_slices(pmap: Dataset) -> None:
    pmap.FloatPixelData = _stored(pmap)[::-1].tobytes()


def _mirror_columns(pmap: Dataset) -> None:
    pmap.FloatPixelData = _stored(pmap)[:, :, ::-1].tobytes()


def _change_one_value(pmap: Dataset) -> None:
    values = _stored(pmap).copy()
    values[3, 4, 5] += 1e-6
    pmap.FloatPixelData = values.tobytes()


def _lose_a_frame_of_values(pmap: Dataset) -> None:
    pmap.FloatPixelData = _stored(pmap)[1:].tobytes()


def _shift_by_one_slice(pmap: Dataset) -> None:
    step = SERIES.grid.affine_lps[:3, 0]
    for frame in pmap.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{v:.8f}" for v in np.array(place.ImagePositionPatient, dtype=float) + step]


def _refer_to_the_next_slice(pmap: Dataset) -> None:
    behind = pmap.PerFrameFunctionalGroupsSequence[4].DerivationImageSequence[0].SourceImageSequence[0]
    behind.ReferencedSOPInstanceUID = SERIES.planes[5].sop_instance_uid


def _index_backwards(pmap: Dataset) -> None:
    for number, frame in enumerate(pmap.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].DimensionIndexValues = [SHAPE[0] - number]


def _scale_the_values(pmap: Dataset) -> None:
    pmap.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].RealWorldValueSlope = 2.0


def _define_no_quantity(pmap: Dataset) -> None:
    del pmap.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].QuantityDefinitionSequence


def _count_in_another_unit(pmap: Dataset) -> None:
    unit = pmap.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0]
    unit.CodeValue, unit.CodeMeaning = "1", "no units"


def _name_no_anatomy(pmap: Dataset) -> None:
    del pmap.SharedFunctionalGroupsSequence[0].FrameAnatomySequence


def _turn_the_rows(pmap: Dataset) -> None:
    plane = pmap.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [-value for value in plane.ImageOrientationPatient]


def _move_to_another_frame_of_reference(pmap: Dataset) -> None:
    pmap.FrameOfReferenceUID = generate_uid()


def _forget_a_source(pmap: Dataset) -> None:
    del pmap.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]


def _name_another_series(pmap: Dataset) -> None:
    pmap.ReferencedSeriesSequence[0].SeriesInstanceUID = generate_uid()


def _claim_to_be_a_product(pmap: Dataset) -> None:
    pmap.ContentQualification = "PRODUCT"


FAULTS = {
    _put_the_frames_in_highdicoms_order: "OHIF would show them mirrored",
    _mirror_slices: "does not hold the map",
    _mirror_columns: "does not hold the map",
    _change_one_value: "does not hold the map",
    _lose_a_frame_of_values: "holds 25530 values, expected 26640",
    _shift_by_one_slice: "mm from the nearest slice",
    _refer_to_the_next_slice: "refers to another slice",
    _index_backwards: "not all slices in their order",
    _scale_the_values: "real world values",
    _define_no_quantity: "quantity",
    _count_in_another_unit: "its unit is not a score",
    _name_no_anatomy: "frame anatomy",
    _turn_the_rows: "orientation or spacing",
    _move_to_another_frame_of_reference: "another frame of reference",
    _forget_a_source: "lists 23 instances",
    _name_another_series: "not the source series",
    _claim_to_be_a_product: "RESEARCH",
}


@pytest.mark.parametrize(("fault", "said"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_seeded_fault_is_caught(fault: Callable[[Dataset], None], said: str) -> None:
    pmap = _write()
    fault(pmap)

    with pytest.raises(BadResult, match=said):
        check_parametric_map(SERIES, score_map(), pmap)
