"""Real cases from the first image to the results in a real PACS."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from factories import mr_series, write
from numpy.typing import NDArray
from processes import Node, Orthanc, free_port, storescu, wait_until
from pydicom import Dataset, dcmread

from vb_node.dicom import codes
from vb_node.dicom.provenance import is_ours
from vb_node.dicom.sr_tree import find, number

DONE_S = 400.0

pytestmark = pytest.mark.real_data


def _process(study: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vb_node", "process", str(study), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _results(orthanc: Orthanc) -> list[Dataset]:
    return [dataset for dataset in orthanc.instances() if is_ours(dataset)]


def test_remind_gives_one_report_for_its_contrast_series_and_none_for_the_others(
    make_node: Callable[..., Node], orthanc: Orthanc, real_data: Path
) -> None:
    case = real_data / "remind_022_t1ce_seg"
    paths = sorted(case.rglob("*.dcm"))
    headers = [dcmread(path, stop_before_pixels=True) for path in paths]
    t1ce = {
        header.SeriesInstanceUID for header in headers if header.Modality == "MR" and "T1" in header.SeriesDescription
    }
    node = make_node(orthanc.port, quiet_s=3.0)
    node.start()

    sent = storescu(node, paths, "SENDER", "-R")
    wait_until(lambda: node.is_done(1) and not node.open_series(), DONE_S, "the job ends, and every series is judged")
    again = storescu(node, paths, "SENDER", "-R")

    assert (sent.returncode, again.returncode) == (0, 0)
    (job,) = node.jobs()
    assert job.state == "COMPLETED"
    assert {job.series_instance_uid} == t1ce
    left = {event.series_instance_uid: event.details["reason"] for event in node.events(event="series not selected")}
    assert left.keys() == {header.SeriesInstanceUID for header in headers} - t1ce
    results = _results(orthanc)
    reports = [result for result in results if result.Modality == "SR"]
    segmentations = [result for result in results if result.Modality == "SEG"]
    assert len(reports) == 1
    assert len(segmentations) == (2 if (job.outcome or {})["lesions"] else 0)
    for result in results:
        assert result.PatientID == headers[0].PatientID
        assert result.StudyInstanceUID == headers[0].StudyInstanceUID
    for segmentation in segmentations:
        assert {segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID} == t1ce
        assert segmentation.FrameOfReferenceUID == next(
            header.FrameOfReferenceUID for header in headers if header.SeriesInstanceUID in t1ce
        )


def test_a_thick_enhancing_lesion_is_covered_by_half_with_less_than_three_times_its_volume(
    real_data: Path, tmp_path: Path
) -> None:
    image = SimpleITK.ReadImage(str(real_data / "t1ce_thick_nrrd" / "brain1_image.nrrd"))
    lesion = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(real_data / "t1ce_thick_nrrd" / "brain1_label.nrrd"))) > 0
    )
    write(mr_series(SimpleITK.GetArrayFromImage(image), _affine(image)), tmp_path / "study")

    ended = _process(tmp_path / "study", tmp_path / "out")

    assert ended.returncode == 0, ended.stderr
    found = _found_on(image, tmp_path / "out")
    assert (found & lesion).sum() >= 0.5 * lesion.sum()
    assert found.sum() < 3 * lesion.sum()
    _volumes_agree(tmp_path / "out")


def _volumes_agree(out: Path) -> None:
    """Compare the volume in the report with the SEG's voxels, and both with the mask's in the pipeline."""
    report, segmentation = dcmread(out / "1-sr.dcm"), dcmread(out / "0-seg.dcm")
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row_mm, column_mm = (float(mm) for mm in measures.PixelSpacing)
    seg_mm3 = segmentation.pixel_array.sum() * row_mm * column_mm * float(measures.SpacingBetweenSlices)
    stated_mm3 = sum(number(item) for item in find(report, codes.VOLUME))
    lesions = json.loads((out / "result.json").read_text())["summary"]["lesions"]
    assert stated_mm3 == pytest.approx(seg_mm3, rel=0.005)
    assert stated_mm3 == pytest.approx(sum(lesion["prior_volume_mm3"] for lesion in lesions), rel=0.05)


def _affine(image: SimpleITK.Image) -> NDArray[np.float64]:
    """Map (k, j, i) of a SimpleITK image to LPS mm."""
    made = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    made[:3, :3] = direction[:, ::-1]
    made[:3, 3] = image.GetOrigin()
    return made


def _found_on(image: SimpleITK.Image, out: Path) -> NDArray[np.bool_]:
    """Place the frames of the SEG on the image by their positions alone."""
    segmentation = dcmread(out / "0-seg.dcm")
    frames = np.atleast_3d(segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns))
    found = np.zeros(image.GetSize()[::-1], np.bool_)
    for frame, place in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(value) for value in place.PlanePositionSequence[0].ImagePositionPatient]
        _, _, k = image.TransformPhysicalPointToIndex(position)
        found[k] |= frame > 0
    return found


def test_a_fruit_is_no_brain_and_the_report_says_so(real_data: Path, tmp_path: Path) -> None:
    ended = _process(real_data / "ge_3d_irspgr_fruit" / "In", tmp_path / "out")

    assert ended.returncode == 3, ended.stderr
    report, page = (dcmread(path) for path in sorted((tmp_path / "out").glob("*.dcm")))
    assert (report.Modality, page.Modality) == ("SR", "OT")
    assert "no brain" in str(report).lower()
    assert "NoBrain" in ended.stdout or "no brain" in ended.stdout.lower()


def test_results_of_ours_that_come_back_start_no_job(
    make_node: Callable[..., Node], real_data: Path, tmp_path: Path
) -> None:
    study = real_data / "ge_3d_irspgr_fruit" / "In"
    _process(study, tmp_path / "out")
    node = make_node(free_port())
    node.start()

    storescu(node, sorted((tmp_path / "out").glob("*.dcm")), "SENDER", "-R")
    wait_until(lambda: bool(node.events(event="series not selected")), 60, "the series is judged")

    assert node.jobs() == []
    assert "our own result" in node.events(event="series not selected")[0].details["reason"]
