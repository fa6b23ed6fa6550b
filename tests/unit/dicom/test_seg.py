"""The Segmentation shows exactly the mask, on the source's grid, frame by frame."""

import numpy as np
import pytest
from factories import CORONAL, SAGITTAL, affine, head, mr_series
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from results import SHAPE, enhanced, oblique, provenance, reread, series_of, to_bytes, two_lesions

from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.seg import write_seg
from vb_node.types import Labels, Plane, Series

NAMES = {1: "Lesion 1 (left thalamus)", 3: "Lesion 3 (right side)"}
SOURCES = {
    "oblique, columns no multiple of 8": oblique,
    "Enhanced with phase frames": enhanced,
    "sagittal": lambda: series_of(mr_series(head(SHAPE), affine((1.0, 1.0, 1.0), SAGITTAL, (-12.0, -15.0, 18.0)))),
    "coronal, thick": lambda: series_of(mr_series(head(SHAPE), affine((6.5, 0.5, 0.5), CORONAL))),
}


def _write(series: Series, labels: Labels | None = None) -> Dataset:
    return write_seg(series, two_lesions(series.grid.shape) if labels is None else labels, provenance(), NAMES)


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
def source(request: pytest.FixtureRequest) -> Series:
    made: Series = request.param()
    return made


def test_highdicom_reads_the_mask_back_where_it_was(source: Series) -> None:
    labels = two_lesions()

    read = Segmentation.from_dataset(reread(_write(source, labels))).get_volume(combine_segments=True)

    where = np.argwhere(read.array)
    world = where @ read.affine[:3, :3].T + read.affine[:3, 3]
    expected = np.argwhere(labels)
    index = np.rint(source.grid.to_index(world)).astype(int)
    assert np.allclose(source.grid.to_index(world), index, atol=0.01)
    assert {tuple(row) for row in index} == {tuple(row) for row in expected}


def test_every_frame_names_the_slice_it_stands_on(source: Series) -> None:
    segmentation = _write(source)

    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = np.array([frame.PlanePositionSequence[0].ImagePositionPatient], dtype=float)
        behind = frame.DerivationImageSequence[0].SourceImageSequence[0]
        k = round(float(source.grid.to_index(position)[0, 0]))
        assert Plane(behind.ReferencedSOPInstanceUID, behind.get("ReferencedFrameNumber")) == source.planes[k]
        assert behind.SpatialLocationsPreserved == "YES"


def test_two_lesions_in_one_slice_name_the_same_instance(source: Series) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 5:9, 5:9], labels[10, 15:19, 20:24] = 1, 3

    segmentation = _write(source, labels)

    named = [
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for frame in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert named == [source.planes[10].sop_instance_uid] * 2


def test_the_whole_source_series_is_listed_once(source: Series) -> None:
    segmentation = _write(source)

    listed = segmentation.ReferencedSeriesSequence[0]
    instances = [item.ReferencedSOPInstanceUID for item in listed.ReferencedInstanceSequence]
    assert listed.SeriesInstanceUID == source.series_instance_uid
    assert instances == [header.SOPInstanceUID for header in source.headers]
    classes = {item.ReferencedSOPClassUID for item in listed.ReferencedInstanceSequence}
    assert classes == {source.headers[0].SOPClassUID}


def test_an_enhanced_source_is_named_by_its_class_and_frame() -> None:
    segmentation = _write(enhanced())

    behind = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert behind.ReferencedSOPClassUID.name == "Enhanced MR Image Storage"
    assert behind.ReferencedFrameNumber > SHAPE[0]


def test_segments_are_numbered_from_1_whatever_labels_were_lost() -> None:
    segmentation = _write(oblique())

    assert [(item.SegmentNumber, item.SegmentLabel) for item in segmentation.SegmentSequence] == [
        (1, NAMES[1]),
        (2, NAMES[3]),
    ]


def test_orientation_and_spacing_are_the_sources_digit_by_digit() -> None:
    series = oblique()

    shared = _write(series).SharedFunctionalGroupsSequence[0]

    header = series.headers[0]
    measures = shared.PixelMeasuresSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == header.ImageOrientationPatient
    assert (measures.PixelSpacing, measures.SliceThickness) == (header.PixelSpacing, header.SliceThickness)
    assert float(measures.SpacingBetweenSlices) == pytest.approx(3.0)


def test_the_same_job_writes_the_sameto_bytes() -> None:
    series = oblique()

    assert to_bytes(_write(series)) == to_bytes(_write(series))


def test_a_revision_is_the_next_instance_of_the_same_series() -> None:
    series, labels = oblique(), two_lesions()
    before = Predecessor(Comprehensive3DSRStorage, "1.2.3", "1.2.4", series.headers[0].StudyInstanceUID, revision=4)

    first = write_seg(series, labels, provenance("job-1"), NAMES)
    second = write_seg(series, labels, provenance("job-2", predecessor=before), NAMES)

    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 5)


def test_noise_in_the_orientation_and_a_missing_thickness_do_no_harm() -> None:
    instances = mr_series(head(SHAPE), affine((2.0, 1.0, 1.0)), SliceThickness=None)
    instances[5].ImageOrientationPatient = ["1", "0.0000001", "0", "0", "1", "0"]

    segmentation = _write(series_of(instances))

    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == 2.0


def test_it_says_that_it_is_ai_for_research_and_not_verified() -> None:
    segmentation = _write(oblique())

    assert segmentation.ContentQualification == "RESEARCH"
    assert "AI" in segmentation.SeriesDescription
    assert "not verified" in segmentation.SeriesDescription
    assert segmentation.SeriesNumber == 9001


def test_empty_frames_are_left_out() -> None:
    labels = two_lesions()

    segmentation = _write(oblique(), labels)

    filled = sum(int((labels == label).any(axis=(1, 2)).sum()) for label in (1, 3))
    assert int(segmentation.NumberOfFrames) == filled


def test_a_mask_without_a_lesion_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a lesion"):
        _write(oblique(), np.zeros(SHAPE, np.uint8))


def test_a_mask_on_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, 30, 37\) expected"):
        _write(oblique(), two_lesions((24, 37, 30)))
