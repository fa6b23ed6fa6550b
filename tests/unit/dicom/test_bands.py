"""The bands show where the probability map stands between which values, disjoint and on the source's grid."""

from collections.abc import Callable

import numpy as np
import pytest
from factories import SAGITTAL, affine, head, mr_series
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from results import SHAPE, enhanced, oblique, provenance, reread, score_map, series_of, to_bytes

from vb_node.dicom.bands import BANDS, write_bands
from vb_node.dicom.check_companions import check_bands
from vb_node.dicom.seg import SERIES_NUMBER as SEG_SERIES_NUMBER
from vb_node.errors import BadResult
from vb_node.types import Floats, Series

SOURCES = {
    "oblique, columns no multiple of 8": oblique,
    "Enhanced with phase frames": enhanced,
    "sagittal": lambda: series_of(mr_series(head(SHAPE), affine((1.0, 1.0, 1.0), SAGITTAL, (-12.0, -15.0, 18.0)))),
}
SERIES = oblique()


def _write(probability: Floats, series: Series = SERIES) -> Dataset:
    return reread(write_bands(series, probability, provenance()))


def _map(*values: float) -> Floats:
    probability = np.zeros(SHAPE, np.float32)
    probability[10, 5, : len(values)] = values
    return probability


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_highdicom_reads_each_band_back_where_the_map_reaches_it(make: Callable[[], Series]) -> None:
    series, probability = make(), score_map()

    read = Segmentation.from_dataset(_write(probability, series)).get_volume(combine_segments=True)

    where = np.argwhere(read.array)
    index = np.rint(series.grid.to_index(where @ read.affine[:3, :3].T + read.affine[:3, 3])).astype(int)
    shown = np.zeros(SHAPE, np.uint8)
    shown[tuple(index.T)] = read.array[tuple(where.T)]
    assert np.array_equal(shown, (probability >= 0.25) * 1 + (probability >= 0.5) + (probability >= 0.75))
    check_bands(series, probability, _write(probability, series))


def test_a_band_begins_at_its_lowest_value() -> None:
    probability = _map(0.2499, 0.25, 0.4999, 0.5, 0.7499, 0.75, 1.0)

    frames = _write(probability).pixel_array

    assert frames.reshape(3, *SHAPE[1:])[:, 5, :7].tolist() == [
        [0, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]


def test_a_band_without_voxels_leaves_no_gap_in_the_numbers() -> None:
    bands = _write(_map(0.3, 0.9))

    assert [(item.SegmentNumber, item.SegmentLabel) for item in bands.SegmentSequence] == [
        (1, BANDS[0].name),
        (2, BANDS[2].name),
    ]


def test_the_colours_run_from_yellow_to_red() -> None:
    shown = [list(item.RecommendedDisplayCIELabValue) for item in _write(score_map()).SegmentSequence]

    greens = [band.colour[1] for band in BANDS]
    assert shown == [list(CIELabColor.from_rgb(*band.colour).value) for band in BANDS]
    assert greens == sorted(greens, reverse=True)


def test_a_reader_is_told_that_nobody_verified_or_calibrated_it() -> None:
    bands = _write(score_map())

    assert "AI" in bands.SeriesDescription
    assert "not verified" in bands.SeriesDescription
    assert "not calibrated" in bands.ContentDescription
    assert all("not calibrated" in item.SegmentLabel for item in bands.SegmentSequence)


def test_it_is_a_series_of_its_own() -> None:
    bands = _write(score_map())

    assert bands.SeriesInstanceUID not in {SERIES.series_instance_uid, provenance().series_instance_uid("SEG")}
    assert bands.SeriesNumber == 9004 != SEG_SERIES_NUMBER


def test_a_band_is_tracked_through_revisions() -> None:
    first, second = (write_bands(SERIES, score_map(), provenance(job)) for job in ("job-1", "job-2"))

    tracked = [[item.TrackingUID for item in bands.SegmentSequence] for bands in (first, second)]

    assert tracked[0] == tracked[1]
    assert len(set(tracked[0])) == len(BANDS)


def test_the_same_job_writes_the_same_bytes() -> None:
    assert to_bytes(write_bands(SERIES, score_map(), provenance())) == to_bytes(
        write_bands(SERIES, score_map(), provenance())
    )


def test_a_map_that_reaches_no_band_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing reaches 25%"):
        write_bands(SERIES, _map(0.24), provenance())


def test_a_map_on_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, 30, 37\) expected"):
        write_bands(SERIES, score_map((24, 37, 30)), provenance())


def _mirror(bands: Dataset) -> None:
    bits = np.unpackbits(np.frombuffer(bands.PixelData, np.uint8), bitorder="little")
    size = int(bands.NumberOfFrames) * SHAPE[1] * SHAPE[2]
    frames = bits[:size].reshape(-1, *SHAPE[1:])[:, :, ::-1]
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    bands.PixelData = packed + b"\0" * (len(packed) % 2)


def _swap_two_bands(bands: Dataset) -> None:
    for frame in bands.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = {1: 1, 2: 3, 3: 2}[item.ReferencedSegmentNumber]


def _swap_two_names(bands: Dataset) -> None:
    low, middle, _ = bands.SegmentSequence
    low.SegmentLabel, middle.SegmentLabel = middle.SegmentLabel, low.SegmentLabel


def _shift_by_one_slice(bands: Dataset) -> None:
    step = SERIES.grid.affine_lps[:3, 0]
    for frame in bands.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{v:.8f}" for v in np.array(place.ImagePositionPatient, dtype=float) + step]


def _move_to_another_frame_of_reference(bands: Dataset) -> None:
    bands.FrameOfReferenceUID = generate_uid()


def _share_a_tracking_uid(bands: Dataset) -> None:
    bands.SegmentSequence[1].TrackingUID = bands.SegmentSequence[0].TrackingUID


def _claim_to_be_verified(bands: Dataset) -> None:
    bands.SeriesDescription = "Tumour probability"


def _claim_to_be_calibrated(bands: Dataset) -> None:
    bands.ContentDescription = "Tumour probability"


FAULTS = {
    _mirror: "does not show the mask",
    _swap_two_bands: "does not show the mask",
    _swap_two_names: "the segments are named",
    _shift_by_one_slice: "SEG: a frame",
    _move_to_another_frame_of_reference: "another frame of reference",
    _share_a_tracking_uid: "share a tracking UID",
    _claim_to_be_verified: "not verified",
    _claim_to_be_calibrated: "not calibrated",
}


@pytest.mark.parametrize(("fault", "said"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_seeded_fault_is_caught(fault: Callable[[Dataset], None], said: str) -> None:
    probability = score_map()
    bands = _write(probability)
    fault(bands)

    with pytest.raises(BadResult, match=said):
        check_bands(SERIES, probability, bands)


@pytest.mark.parametrize("value", [1.2, -0.1, float("nan")])
def test_a_map_that_holds_no_probability_is_caught(value: float) -> None:
    probability = score_map()
    bands = _write(probability)
    probability[0, 0, 0] = value

    with pytest.raises(BadResult, match="expected 0 to 1"):
        check_bands(SERIES, probability, bands)
