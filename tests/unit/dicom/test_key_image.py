"""The key image hangs as readers expect, shows the outline where the lesion is, and nothing of the patient."""

import numpy as np
import pytest
from factories import AXIAL, CORONAL, SAGITTAL, affine, head, mr_series
from results import (
    SHAPE,
    analysis_of,
    enhanced,
    oblique,
    provenance,
    reread,
    series_of,
    to_bytes,
    two_lesions,
    write_key_image,
)

from vb_node.dicom.check_companions import check_text_page
from vb_node.dicom.key_image import (
    BLACK,
    LINE,
    MARGIN,
    ORANGE,
    PANEL,
    Saliency,
    display,
    draw,
    panel,
    write_page,
    write_text_page,
)
from vb_node.errors import BadResult
from vb_node.types import Grid, Series

SIDES = {
    "axial": (AXIAL, ("L", "P")),
    "sagittal": (SAGITTAL, ("P", "F")),
    "coronal": (CORONAL, ("L", "F")),
}


def _grid(orientation: object, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Grid:
    return Grid(SHAPE, affine(spacing, orientation), "1.2.3")


def _voxels(series: Series) -> np.ndarray:
    return head(series.grid.shape).astype(np.float32)


@pytest.mark.parametrize(("orientation", "expected"), SIDES.values(), ids=SIDES.keys())
@pytest.mark.parametrize("turns", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_right_front_and_head_are_always_left_or_up(
    orientation: object, expected: tuple[str, str], turns: tuple[int, int]
) -> None:
    turned = np.asarray(orientation) * np.array(turns)[:, None]

    shown = display(_grid(turned))

    assert tuple(direction.letters for direction in shown) == expected


def test_the_outline_lies_around_the_lesion_on_the_patients_own_side() -> None:
    right_to_the_left = np.array([[-1.0, 0, 0], [0, 1.0, 0]])
    mask = np.zeros(SHAPE[1:], np.bool_)
    mask[12:18, 4:10] = True

    picture = panel(np.zeros(SHAPE[1:], np.float32), mask, _grid(right_to_the_left), "")

    columns = np.argwhere((picture == ORANGE).all(axis=2))[:, 1]
    assert columns.min() > PANEL / 2


def test_pixels_are_square_in_mm() -> None:
    plane = np.zeros(SHAPE[1:], np.float32)
    mask = np.zeros(SHAPE[1:], np.bool_)
    mask[10:20, 10:15] = True

    picture = panel(plane, mask, _grid(AXIAL, (1.0, 1.0, 2.0)), "")

    rows, columns = (np.ptp(axis) for axis in np.argwhere((picture == ORANGE).all(axis=2)).T)
    assert abs(int(rows) - int(columns)) <= 2


def test_each_lesion_is_shown_on_its_largest_slice_and_named_as_source() -> None:
    series, labels = oblique(), two_lesions()

    picture = write_key_image(series, _voxels(series), analysis_of(series, labels).findings, ["a line"], provenance())

    largest = [int((labels == label).sum(axis=(1, 2)).argmax()) for label in (1, 3)]
    shown = {item.ReferencedSOPInstanceUID for item in picture.SourceImageSequence}
    assert shown == {series.planes[k].sop_instance_uid for k in largest}
    assert picture.Columns == 2 * PANEL


def test_what_counted_for_the_class_is_blue_in_a_panel_of_its_own_at_its_place() -> None:
    series = series_of(mr_series(head(SHAPE)))
    k, j, i = SHAPE[0] - 3, SHAPE[1] // 4, SHAPE[2] // 4
    shares = np.zeros(SHAPE, np.float32)
    shares[k, j - 1 : j + 2, i - 1 : i + 2] = 1
    dark = np.zeros(SHAPE, np.float32)

    without, with_map = (draw(series, dark, [], one) for one in (None, Saliency("PCNSL", shares)))

    panel_of_it = with_map.picture[:, PANEL:].astype(int)
    blue = np.argwhere((panel_of_it[..., 2] > 100) & (panel_of_it[..., 0] < 50))
    assert np.array_equal(with_map.picture[:, :PANEL], without.picture)
    assert with_map.slices == (SHAPE[0] // 2, k)
    scale = PANEL / max(SHAPE[1:])
    side = (PANEL - scale * np.array(SHAPE[1:])) / 2
    turned = [one.is_flipped for one in display(series.grid)][::-1]
    place = [size - 1 - at if flipped else at for at, size, flipped in zip((j, i), SHAPE[1:], turned, strict=True)]
    assert blue.mean(axis=0) == pytest.approx(side + (np.array(place) + 0.5) * scale, abs=scale)


def test_a_frame_of_an_enhanced_source_is_named_by_its_number() -> None:
    series = enhanced()

    picture = write_key_image(series, _voxels(series), [], [], provenance())

    k = SHAPE[0] // 2
    assert picture.SourceImageSequence[0].ReferencedFrameNumber == series.planes[k].frame_number


def test_without_a_lesion_nothing_is_outlined() -> None:
    series = oblique()

    picture = write_key_image(series, _voxels(series), [], [], provenance())

    below_the_warning = picture.pixel_array[-PANEL + MARGIN :]
    assert not (below_the_warning == ORANGE).all(axis=2).any()


def test_the_patient_does_not_change_a_pixel() -> None:
    pixels = []
    for name in ("Canary^One", "Other^Two"):
        series = series_of(mr_series(head(SHAPE), PatientName=name, PatientID=name))
        findings = analysis_of(series, two_lesions()).findings
        pixels.append(write_key_image(series, _voxels(series), findings, [], provenance()).PixelData)

    assert pixels[0] == pixels[1]


def test_it_warns_of_itself_and_is_the_same_bytes_each_time() -> None:
    series = oblique()

    made = [write_key_image(series, _voxels(series), [], [], provenance()) for _ in range(2)]

    assert made[0].BurnedInAnnotation == "YES"
    assert "not verified" in made[0].SeriesDescription
    assert to_bytes(made[0]) == to_bytes(made[1])


def test_a_drawing_serves_more_than_one_page() -> None:
    series = oblique()
    drawing = draw(series, _voxels(series), analysis_of(series, two_lesions()).findings)

    page = write_page(series, drawing, ["a line"], provenance())

    assert np.array_equal(page.pixel_array[-drawing.picture.shape[0] :], drawing.picture)
    assert len(page.SourceImageSequence) == len(drawing.slices)


def test_a_long_line_is_broken_between_words_and_stays_on_the_page() -> None:
    series = oblique()
    voxels = _voxels(series)

    short, long = (
        write_key_image(series, voxels, [], [line], provenance()).pixel_array for line in ("word", "word " * 60)
    )

    assert long.shape[1] == short.shape[1]
    assert long.shape[0] - short.shape[0] > 3 * LINE
    assert (long[:-PANEL, -MARGIN // 2 :] == BLACK).all()


def test_a_series_that_was_not_analysed_gets_a_page_of_words() -> None:
    series = oblique()

    lines = ["the series was not analysed (no brain recognised)"]
    page = write_text_page(series.headers, lines, provenance().of_refusal("NO_BRAIN"))

    pixels = page.pixel_array
    assert (pixels[: MARGIN + LINE] == ORANGE).all(axis=2).any()
    assert not (pixels[MARGIN + LINE :] == ORANGE).all(axis=2).any()
    assert page.SOPInstanceUID != write_key_image(series, _voxels(series), [], [], provenance()).SOPInstanceUID
    check_text_page(series.headers, reread(page))


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("BurnedInAnnotation", "NO", "burned in"),
        ("SourceImageSequence", [], "SourceImageSequence is required"),
        ("PatientID", "X", "PatientID"),
    ],
)
def test_a_page_of_words_with_a_fault_is_caught(keyword: str, value: object, said: str) -> None:
    series = oblique()
    page = write_text_page(series.headers, [], provenance())
    setattr(page, keyword, value)

    with pytest.raises(BadResult, match=said):
        check_text_page(series.headers, page)
