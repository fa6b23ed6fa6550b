"""Validators of others judge what we write: dciodvfy, dcmtk and highdicom, on sources of every kind.

Programs are called by their absolute paths, as pynetdicom installs some of the same names.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import SAGITTAL, affine, head, mr_series
from highdicom.seg import segread
from highdicom.sr import srread
from pydicom.dataset import Dataset
from results import (
    NOTHING,
    SHAPE,
    UNDETERMINED,
    analysis_of,
    enhanced,
    oblique,
    provenance,
    series_of,
    two_lesions,
    written,
)

from vb_node.dicom.key_image import write_key_image
from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.seg import write_seg
from vb_node.dicom.series import arrange
from vb_node.dicom.sr import SOP_CLASSES, as_class, write_not_analysed, write_report
from vb_node.dicom.sr_content import lesion_name
from vb_node.errors import NoBrain
from vb_node.types import Series

DCIODVFY, DSRDUMP, DCMDUMP = (Path("/usr/bin") / name for name in ("dciodvfy", "dsrdump", "dcmdump"))
SOURCES: dict[str, Callable[[], Series]] = {
    "oblique": oblique,
    "Enhanced": enhanced,
    "sagittal": lambda: series_of(mr_series(head(SHAPE), affine((1.0, 1.0, 1.0), SAGITTAL))),
    "Chinese": lambda: oblique(SpecificCharacterSet="GB18030", PatientName="Wang^XiaoDong=王^小东"),
    "poor": lambda: oblique(
        StudyID=None,
        ReferringPhysicianName=None,
        AccessionNumber=None,
        PatientID=None,
        PatientName=None,
        StudyTime=None,
    ),
}
REAL = {
    "ReMIND, oblique": "remind_022_t1ce_seg/3DAXT1postcontrast_MRI",
    "Siemens, Enhanced": "siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl",
    "Philips, sagittal": "philips_mprage_3t/In/cl",
}


def _results(series: Series) -> dict[str, Dataset]:
    labels, nothing = two_lesions(series.grid.shape), np.zeros(series.grid.shape, np.uint8)
    report, segmentation = written(series, labels, provenance())
    analysis = analysis_of(series, labels, UNDETERMINED)
    names = {finding.label: lesion_name(finding) for finding in analysis.findings}
    revision = provenance(
        "job-2", predecessor=Predecessor(SOP_CLASSES[0], "1.2.3", "1.2.4", series.headers[0].StudyInstanceUID)
    )
    segmentation_2 = write_seg(series, labels, revision, names)
    voxels = head(series.grid.shape).astype(np.float32)
    return {
        "SEG": segmentation,
        "SR": report,
        "SR, Comprehensive": as_class(report, SOP_CLASSES[1]),
        "SR, Enhanced": as_class(report, SOP_CLASSES[2]),
        "SR, undetermined revision": write_report(series, *analysis, segmentation_2, revision),
        "SR, no lesion": write_report(
            series, *analysis_of(series, nothing, NOTHING, "not localised"), None, provenance()
        ),
        "SR, not analysed": write_not_analysed(series.headers, NoBrain("expected a head"), provenance()),
        "key image": write_key_image(series, voxels, analysis.findings, ["a line"], provenance()),
    }


def _run(program: Path, *arguments: str) -> str:
    assert program.is_file(), f"{program} is missing: install the Debian packages dicom3tools and dcmtk"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, errors="replace", check=False, timeout=60
    )
    return done.stdout + done.stderr


def _judge(series: Series, folder: Path) -> None:
    for name, result in _results(series).items():
        path = folder / f"{name}.dcm"
        result.save_as(path, enforce_file_format=True)
        errors = [
            line for line in _run(DCIODVFY, "-new", str(path)).splitlines() if line.startswith(("Error", "Abort"))
        ]
        assert errors == [], name
        assert "error" not in _run(DCMDUMP, "+E", "-q", str(path)).lower(), name
        if name.startswith("SR"):
            dumped = _run(DSRDUMP, "+Pl", str(path))
            assert "Oncology Measurement Report" in dumped, name
            assert "\nE: " not in dumped, name


def _read_back(series: Series, folder: Path) -> None:
    segmentation = segread(folder / "SEG.dcm")
    groups = srread(folder / "SR.dcm").content.get_volumetric_roi_measurement_groups()
    numbers = np.unique(segmentation.get_volume(combine_segments=True).array)
    assert numbers.tolist() == [0, 1, 2]
    assert [group.tracking_uid for group in groups] == [item.TrackingUID for item in segmentation.SegmentSequence]
    assert segmentation.FrameOfReferenceUID == series.grid.frame_of_reference_uid


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_every_object_is_without_error_for_dciodvfy_and_read_by_dcmtk_and_highdicom(
    make: Callable[[], Series], tmp_path: Path
) -> None:
    series = make()

    _judge(series, tmp_path)

    _read_back(series, tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", REAL.values(), ids=REAL.keys())
def test_every_object_of_a_real_source_is_without_error(folder: str, real_data: Path, tmp_path: Path) -> None:
    series = arrange((real_data / folder).iterdir())

    _judge(series, tmp_path)

    _read_back(series, tmp_path)


def test_the_oracle_itself_sees_a_fault(tmp_path: Path) -> None:
    report, _ = written(oblique(), two_lesions(), provenance())
    del report.CompletionFlag
    report.save_as(tmp_path / "SR.dcm", enforce_file_format=True)

    said = _run(DCIODVFY, "-new", str(tmp_path / "SR.dcm"))

    assert "Error" in said
    assert "CompletionFlag" in said
