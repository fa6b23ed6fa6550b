"""The real OHIF, in a real Chromium over a real Orthanc: where it shows our Segmentations, and what it reads of our SR.

Positions are read back from the pictures: the pixels that OHIF paints, placed in the patient by OHIF's own viewport.
"""

import shutil
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from factories import affine, head, mr_series, turned
from highdicom.seg import segread
from PIL import Image
from places import ROOT
from processes import Orthanc, free_port
from pydicom import Dataset, dcmread
from results import analysis_of, provenance, series_of, to_bytes, two_lesions, write_key_image, written
from scipy import ndimage
from viewer_reader import Sight, look
from viewer_server import Ohif

from vb_node.dicom import bands, parametric_map, seg, sr
from vb_node.dicom.series import arrange
from vb_node.types import Floats, Grid, Labels, Mask, Series

ARTEFACTS = ROOT / "artefacts" / "ohif"
# Orthanc 1.10 cannot cut frames of one bit a pixel whose columns are no multiple of 8
SHAPE = (24, 40, 48)
PLACED = affine((3.0, 0.8, 1.1), turned(17.0) * [[-1.0], [1.0]], (60.0, -80.0, 30.0))
LESIONS = two_lesions(SHAPE)
FIRST = int(np.argwhere(LESIONS == 1)[0, 0])
LARGEST = [int((label == LESIONS).sum(axis=(1, 2)).argmax()) for label in (1, 3)]
SLICES = [FIRST, *LARGEST]
WRONG = {"flipped": LESIONS[:, ::-1], "mirrored": LESIONS[:, :, ::-1], "one slice off": np.roll(LESIONS, 1, axis=0)}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path_factory.mktemp("pacs") / "orthanc", free_port(), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ohif(pacs: Orthanc) -> Iterator[Ohif]:
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    server = Ohif(pacs.url, free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def series() -> Series:
    """Give a doubly oblique, anisotropic series whose lesions are bright."""
    return series_of(mr_series(_voxels(), PLACED))


@pytest.fixture(scope="module")
def sight(series: Series, pacs: Orthanc, ohif: Ohif) -> Sight:
    """Store the series, our results and wrong Segmentations; look at them all."""
    report, segmentation = written(series, LESIONS, provenance())
    findings = analysis_of(series, LESIONS).findings
    page = write_key_image(series, _voxels().astype(np.float32), findings, ["a line"], provenance())
    banded = bands.write_bands(series, _probability(), provenance())
    mapped = parametric_map.write_parametric_map(series, _probability(), provenance())
    _store(pacs, [*series.headers, segmentation, report, page, banded, mapped])
    _store(pacs, [_reversed_map(series)])
    _store(pacs, (_wrong(series, name, labels) for name, labels in WRONG.items()))
    shown = {"prior": (seg.SERIES_DESCRIPTION, SLICES), "bands": (bands.SERIES_DESCRIPTION, LARGEST[:1])}
    wrong = {name: (name, [FIRST]) for name in WRONG}
    return look(
        ohif.url,
        series.headers[0].StudyInstanceUID,
        ARTEFACTS / "made",
        {name: (description, _at(series, slices)) for name, (description, slices) in (shown | wrong).items()},
        {"map": parametric_map.SERIES_DESCRIPTION, "reversed map": "reversed map"},
        {"report": sr.SERIES_DESCRIPTION},
    )


def test_the_study_and_every_series_are_listed_under_their_descriptions(sight: Sight) -> None:
    assert len(sight.studies) == 1
    assert "Phantom" in sight.studies[0]
    assert {
        "T1 MPRAGE post contrast",
        "AI tumour prior, not verified",
        "AI tumour report, not verified",
        "AI key image, not verified",
        "AI tumour probability bands, not verified",
    } <= set(sight.series_descriptions)


@pytest.mark.parametrize("place", range(len(SLICES)))
def test_the_overlay_covers_the_lesion_voxel_by_voxel_in_its_colour(place: int, sight: Sight, series: Series) -> None:
    truth = _only(LESIONS > 0, SLICES[place])

    shown = sight.overlays["prior"][place].mask(series.grid, seg.ORANGE)

    assert _dice(shown, truth) > 0.98
    assert _apart_mm(shown, truth, series.grid) < 0.2


@pytest.mark.parametrize("place", range(len(SLICES)))
def test_the_overlay_lies_on_what_is_bright_in_the_picture_itself(place: int, sight: Sight) -> None:
    overlay = sight.overlays["prior"][place]

    bright = overlay.hidden.min(axis=2) > 0.6 * overlay.hidden.max()

    assert _dice(overlay.painted(), bright) > 0.9


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_segmentation_is_seen_at_the_wrong_place(name: str, sight: Sight, series: Series) -> None:
    shown = sight.overlays[name][0].mask(series.grid)

    assert _dice(shown, _only(WRONG[name] > 0, FIRST)) > 0.98
    assert _dice(shown, _only(LESIONS > 0, FIRST)) == 0


def test_the_bands_show_in_three_colours_each_in_its_place(sight: Sight, series: Series) -> None:
    overlay = sight.overlays["bands"][0]
    truth = bands.into_bands(_probability())

    for number, band in enumerate(bands.BANDS, start=1):
        assert _dice(overlay.mask(series.grid, band.colour), _only(truth == number, LARGEST[0])) > 0.9, band.name


def test_the_map_of_an_oblique_series_lies_on_its_lesion_and_not_mirrored(sight: Sight, series: Series) -> None:
    index = np.average(np.argwhere(np.ones(SHAPE)), axis=0, weights=_probability().reshape(-1))
    centre_lps = series.grid.to_lps(index[None])[0]

    shown, reversed_order = (np.array(sight.centres_lps[name]) for name in ("map", "reversed map"))

    assert np.linalg.norm(shown - centre_lps) < 0.1
    # OHIF takes frames as they come: the order that the writer keeps is what puts them right
    assert np.linalg.norm(reversed_order - centre_lps) > 3 * series.grid.spacing_mm[0]


def test_the_report_opens_as_text_that_names_what_a_reader_must_know(sight: Sight) -> None:
    text = sight.texts["report"]

    assert "Oncology Measurement Report" in text
    assert "AI output, not verified, not a diagnosis" in text
    assert "Volume: " in text
    assert "Probability: 71.5 %" in text
    with Image.open(ARTEFACTS / "made" / "report.png") as picture:
        viewport = np.asarray(picture.convert("L").crop((300, 60, 1230, 780)))
    assert (viewport > 200).sum() > 10_000, "the text is in the page and not in its picture"


def test_the_page_reports_no_error_and_asks_nobody_but_its_own_server(sight: Sight) -> None:
    assert sight.errors == []
    assert sight.foreign_requests == []


@pytest.mark.real_data
def test_the_experts_lesion_in_a_real_series_is_covered(real_data: Path, pacs: Orthanc, ohif: Ohif) -> None:
    case = real_data / "remind_022_t1ce_seg"
    series = arrange((case / "3DAXT1postcontrast_MRI").iterdir())
    lesion = _experts_lesion(case / "Tumor_segmentation.dcm", series.grid)
    _store(pacs, [*map(dcmread, series.paths), written(series, lesion, provenance("real"))[1]])
    k = int(lesion.sum(axis=(1, 2)).argmax())

    sight = look(
        ohif.url,
        series.headers[0].StudyInstanceUID,
        ARTEFACTS / "real",
        {"prior": (seg.SERIES_DESCRIPTION, _at(series, [k]))},
        {},
        {},
    )

    shown, truth = sight.overlays["prior"][0].mask(series.grid, seg.ORANGE), _only(lesion > 0, k)
    assert _dice(shown, truth) > 0.95
    assert _apart_mm(shown, truth, series.grid) < 0.3


def _voxels() -> Floats:
    return np.asarray(head(SHAPE) + 1600 * (LESIONS > 0), np.float32)


def _probability() -> Floats:
    blurred = ndimage.gaussian_filter((LESIONS == 1).astype(np.float32), 1.5)
    return np.asarray(blurred / blurred.max(), np.float32)


def _wrong(series: Series, name: str, labels: Labels) -> Dataset:
    """Write a Segmentation that is in order by itself and at the wrong place."""
    written_wrongly = seg.write_seg(series, labels, provenance(name, lineage_key=name), {1: "a", 3: "b"})
    written_wrongly.SeriesDescription = name
    return written_wrongly


def _reversed_map(series: Series) -> Dataset:
    """Write the same map, each frame with its position, in falling order of the slices: in order by the Standard."""
    result = parametric_map.write_parametric_map(series, _probability(), provenance("map", lineage_key="map"))
    result.PerFrameFunctionalGroupsSequence = list(result.PerFrameFunctionalGroupsSequence)[::-1]
    result.FloatPixelData = np.ascontiguousarray(_probability()[::-1], "<f4").tobytes()
    result.SeriesDescription = "reversed map"
    return result


def _experts_lesion(path: Path, grid: Grid) -> Labels:
    """Place the expert's Segmentation, which is cropped, on the grid of its series."""
    volume = segread(path).get_volume(combine_segments=True)
    index_lps = np.argwhere(volume.array > 0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    labels = np.zeros(grid.shape, np.uint8)
    labels[tuple(np.rint(grid.to_index(index_lps)).astype(int).T)] = 1
    return labels


def _store(pacs: Orthanc, datasets: Iterable[Dataset]) -> None:
    for dataset in datasets:
        request = urllib.request.Request(f"{pacs.url}/instances", to_bytes(dataset), method="POST")
        urllib.request.urlopen(request).close()


def _at(series: Series, slices: Iterable[int]) -> list[str]:
    return [series.planes[k].sop_instance_uid for k in slices]


def _only(mask: Mask, k: int) -> Mask:
    """Leave one slice of a mask."""
    kept = np.zeros_like(mask)
    kept[k] = mask[k]
    return kept


def _dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / both) if (both := one.sum() + other.sum()) else 1.0


def _apart_mm(one: Mask, other: Mask, grid: Grid) -> float:
    centres = [grid.to_lps(np.argwhere(mask)).mean(axis=0) for mask in (one, other)]
    return float(np.linalg.norm(centres[0] - centres[1]))
