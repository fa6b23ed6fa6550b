"""Validators and readers of others accept every object, for sources of every kind; what they warn of is explained."""

import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread
from highdicom.sr import srread
from places import REAL_DATA, ROOT
from processes import Orthanc, free_port
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from results import two_lesions
from sources import REAL, SOURCES, every_object
from validators import PLACE, dciodvfy, dcmdump, dcmqi_masks, dcmqi_report, dsrdump, pixelmed

from vb_node.dicom import codes
from vb_node.dicom.check import COPIED
from vb_node.dicom.modules import missing
from vb_node.dicom.series import arrange
from vb_node.dicom.sr_tree import code_of, find, number
from vb_node.types import Labels, Series

EVERY_SOURCE = [*SOURCES, *(pytest.param(name, marks=pytest.mark.real_data) for name in REAL)]
# One tree in three SOP classes, told apart by UIDs alone: PixelMed, which is slow, reads the copies of one source.
COPIES = ("SR, Comprehensive", "SR, Enhanced")
EXPLAINED = re.compile(r"^\| (dciodvfy|PixelMed) \| `(.+)` \| .+ \|$", re.MULTILINE)
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")


@dataclass(frozen=True)
class Case:
    """One source, and the files of every object that was written of it."""

    series: Series
    labels: Labels
    paths: dict[str, Path]
    complaints: dict[Path, list[str]]


@dataclass(frozen=True)
class Cases:
    by_source: dict[str, Case]
    pixelmed: Future[dict[Path, list[str]]]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """Write every object of every source there is; PixelMed judges the reports while other tests run."""
    made = {name: make() for name, make in SOURCES.items()}
    if REAL_DATA.is_dir():
        made |= {name: arrange((REAL_DATA / folder).iterdir()) for name, folder in REAL.items()}
    by_source = {name: _write(series, tmp_path_factory.mktemp("objects")) for name, series in made.items()}
    reports = [
        path
        for source_name, case in by_source.items()
        for name, path in case.paths.items()
        if name.startswith("SR") and (name not in COPIES or source_name == next(iter(SOURCES)))
    ]
    with ThreadPoolExecutor(1) as pool:
        yield Cases(by_source, pool.submit(pixelmed, reports))


def _write(series: Series, folder: Path) -> Case:
    paths = {}
    for name, result in every_object(series).items():
        paths[name] = folder / f"{name}.dcm"
        result.save_as(paths[name], enforce_file_format=True)
    labels = two_lesions(series.grid.shape)
    # The second ellipsoid has label 3, and is the second segment.
    return Case(series, np.minimum(labels, 2), paths, {path: dciodvfy(path) for path in paths.values()})


@pytest.fixture
def case(cases: Cases, request: pytest.FixtureRequest) -> Case:
    return cases.by_source[request.param]


for_every_source = pytest.mark.parametrize("case", EVERY_SOURCE, indirect=True)


@for_every_source
def test_dciodvfy_finds_no_error(case: Case) -> None:
    errors = [line for lines in case.complaints.values() for line in lines if not line.startswith("Warning")]

    assert errors == []


@for_every_source
def test_dcmtk_reads_every_object_and_dsrdump_every_report(case: Case) -> None:
    for name, path in case.paths.items():
        assert "error" not in dcmdump(path).lower(), name
        if name.startswith("SR"):
            dumped = dsrdump(path)
            assert "Oncology Measurement Report" in dumped, name
            assert "\nE: " not in dumped, name


@for_every_source
def test_pydicom_reads_every_value_and_no_vr_is_broken(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)

    for path in case.paths.values():
        assert sum(1 for _ in dcmread(path).iterall()) > 40


@for_every_source
def test_the_module_tables_miss_nothing_and_every_code_is_in_a_table(case: Case) -> None:
    for name, path in case.paths.items():
        result = dcmread(path)
        assert list(missing(result)) == [], name
        assert list(codes.unknown(result, COPIED)) == [], name


@for_every_source
def test_highdicom_reads_the_segments_and_the_groups_that_point_to_them(case: Case) -> None:
    segmentation = segread(case.paths["SEG"])
    groups = srread(case.paths["SR"]).content.get_volumetric_roi_measurement_groups()

    numbers = np.unique(segmentation.get_volume(combine_segments=True).array)

    assert numbers.tolist() == [0, 1, 2]
    assert [group.tracking_uid for group in groups] == [item.TrackingUID for item in segmentation.SegmentSequence]
    assert segmentation.FrameOfReferenceUID == case.series.grid.frame_of_reference_uid


@for_every_source
def test_dcmqi_shows_every_voxel_of_the_mask_in_its_place(case: Case, tmp_path: Path) -> None:
    for name in ("SEG", "SEG, revision"):
        shown = dcmqi_masks(case.paths[name], tmp_path / name, case.series)

        assert np.array_equal(shown, case.labels), name


@for_every_source
def test_dcmqi_reads_every_group_and_number_of_every_report(case: Case, tmp_path: Path) -> None:
    for name in (name for name in case.paths if name.startswith("SR")):
        read = dcmqi_report(case.paths[name], tmp_path)

        found = [
            (group["TrackingIdentifier"], _measured(group.get("measurementItems", [])))
            for group in read["Measurements"]
        ]
        assert found == _groups(dcmread(case.paths[name])), name


def _measured(items: list[dict[str, dict[str, str]]]) -> list[tuple[str, float, str]]:
    return [(item["quantity"]["CodeValue"], float(str(item["value"])), item["units"]["CodeValue"]) for item in items]


def _groups(report: Dataset) -> list[tuple[str, list[tuple[str, float, str]]]]:
    return [
        (
            find(group, TRACKING_IDENTIFIER)[0].TextValue,
            [
                (item.ConceptNameCodeSequence[0].CodeValue, number(item), _unit(item))
                for item in group.ContentSequence
                if item.ValueType == "NUM"
            ],
        )
        for group in find(report, codes.MEASUREMENT_GROUP)
    ]


def _unit(item: Dataset) -> str:
    unit = code_of(item.MeasuredValueSequence[0], "MeasurementUnitsCodeSequence")
    assert unit is not None
    return str(unit.value)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path_factory.mktemp("archive") / "orthanc", free_port(), free_port())
    server.start()
    yield server
    server.stop()


@for_every_source
def test_orthanc_files_all_objects_under_one_study_and_gives_every_attribute_back(case: Case, archive: Orthanc) -> None:
    header = case.series.headers[0]
    sent = {str(result.SOPInstanceUID): result for result in map(dcmread, case.paths.values())}

    for path in case.paths.values():
        request = urllib.request.Request(f"{archive.url}/instances", path.read_bytes(), method="POST")
        assert json.load(urllib.request.urlopen(request, timeout=60))["Status"] == "Success"

    answer = json.loads(archive.get(f"/dicom-web/studies/{header.StudyInstanceUID}/metadata"))
    got = {str(item.SOPInstanceUID): item for item in (Dataset.from_json(one, lambda *_: b"") for one in answer)}
    assert got.keys() == sent.keys()
    for uid, result in sent.items():
        assert set(got[uid].keys()) - set(result.file_meta.keys()) == set(result.keys())
        for keyword in ("SeriesInstanceUID", "SOPClassUID", "PatientName", "PatientID", "StudyID", "Modality"):
            assert str(got[uid].get(keyword) or "") == str(result.get(keyword) or ""), keyword
    # Orthanc would file the study once for each Patient ID that it came under.
    studies = json.loads(archive.get(f"/dicom-web/studies?StudyInstanceUID={header.StudyInstanceUID}"))
    assert len(studies) == 1


def test_what_pixelmed_calls_an_error_is_of_groups_that_declare_to_have_no_region(cases: Cases) -> None:
    for path, lines in cases.pixelmed.result().items():
        for line in (line for line in lines if line.startswith("Error")):
            group = dcmread(path)
            place = PLACE.search(line)
            assert place is not None
            for step in place[1].split(".")[1:]:
                group = group.ContentSequence[int(step) - 1]

            assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501", line


def test_whatever_a_validator_says_is_explained_in_the_docs_and_nothing_else_is(cases: Cases) -> None:
    said = [
        ("dciodvfy", line) for case in cases.by_source.values() for lines in case.complaints.values() for line in lines
    ]
    said += [("PixelMed", line) for lines in cases.pixelmed.result().values() for line in lines]
    explained = {
        (validator, words): re.compile(re.escape(words).replace("…", ".*"))
        for validator, words in EXPLAINED.findall((ROOT / "docs" / "results.md").read_text())
    }

    unexplained = {
        (validator, line)
        for validator, line in said
        if not any(one == validator and pattern.fullmatch(line) for (one, _), pattern in explained.items())
    }
    never_said = {
        (validator, words)
        for (validator, words), pattern in explained.items()
        if not any(one == validator and pattern.fullmatch(line) for one, line in said)
    }

    assert unexplained == set()
    assert never_said == set()
