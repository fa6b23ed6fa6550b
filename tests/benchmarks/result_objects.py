"""SEG and SR of 192 slices of 256 x 256, ours beside dcmqi's ``itkimage2segimage``, on the same mask in one run.

Run ``python tests/benchmarks/result_objects.py [--runs 7]`` and keep its table in docs/benchmarks.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK

sys.path.insert(0, str(Path(__file__).parents[1]))

from factories import affine, head, mr_series, turned, write
from results import Analysis, analysis_of, provenance, two_lesions

from vb_node import show
from vb_node.dicom import bands, check, seg, sentence, sr
from vb_node.dicom.series import arrange
from vb_node.evaluation.benchmarks.dicom_to_dicom import placed_image
from vb_node.types import Labels, Series

SHAPE = (192, 256, 256)
CODES = {"CodeValue": "108369006", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Neoplasm"}
CATEGORY = {
    "CodeValue": "49755003",
    "CodingSchemeDesignator": "SCT",
    "CodeMeaning": "Morphologically Abnormal Structure",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(mr_series(head(SHAPE), affine((1.0, 1.0, 1.0), turned(12.0))), folder / "source")
        series = arrange((folder / "source").iterdir())
        labels = two_lesions(SHAPE)
        analysis = analysis_of(series, labels)
        dcmqi = dcmqi_command(series, labels, folder)
        steps: dict[str, Callable[[], object]] = {
            "dcmqi itkimage2segimage (process)": lambda: subprocess.run(dcmqi, check=True, capture_output=True),
            "vb-node SEG + SR, written": lambda: write_ours(series, labels, analysis, folder),
            "vb-node SEG + SR, checked and written": lambda: write_ours(
                series, labels, analysis, folder, is_checked=True
            ),
            "vb-node headers read and arranged, for comparison": lambda: arrange((folder / "source").iterdir()),
            "vb-node bands, written": lambda: _bands(series, labels, folder),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(words.runs + 1):  # the first round warms caches and imports
            for name, step in steps.items():
                begun = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - begun)
        peer = statistics.median(seconds["dcmqi itkimage2segimage (process)"][1:])
        rows = [
            [
                name,
                f"{statistics.median(times[1:]):.3f}",
                f"{min(times[1:]):.3f}",
                f"{statistics.median(times[1:]) / peer:.2f}",
            ]
            for name, times in seconds.items()
        ]
        show.table("SEG and SR, 192 x 256 x 256", ["step", "median s", "best s", "of dcmqi"], rows)


def write_ours(series: Series, labels: Labels, analysis: Analysis, folder: Path, *, is_checked: bool = False) -> None:
    """Write SEG and SR of an analysis into a folder."""
    made_by = provenance()
    names = {finding.label: sentence.lesion_name(finding) for finding in analysis.findings}
    segmentation = seg.write_seg(series, labels, made_by, names)
    report = sr.write_report(series, *analysis, segmentation, made_by)
    if is_checked:
        check.check_result(series, labels, report, segmentation)
    for name, result in (("seg", segmentation), ("sr", report)):
        result.save_as(folder / f"{name}.dcm", enforce_file_format=True)


def _bands(series: Series, labels: Labels, folder: Path) -> None:
    probability = np.where(labels > 0, np.float32(0.8), np.float32(0.3))
    bands.write_bands(series, probability, provenance()).save_as(folder / "bands.dcm", enforce_file_format=True)


def dcmqi_command(series: Series, labels: Labels, folder: Path) -> list[str]:
    """Write the mask as NRRD and what dcmqi wants to know of it; give its command. The series lies in one folder."""
    SimpleITK.WriteImage(placed_image(labels, series.grid), str(folder / "mask.nrrd"))
    segments = [
        {
            "labelID": int(label),
            "SegmentDescription": f"Lesion {label}",
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": "virtual_biopsy",
            "SegmentedPropertyCategoryCodeSequence": CATEGORY,
            "SegmentedPropertyTypeCodeSequence": CODES,
        }
        for label in np.unique(labels[labels > 0])
    ]
    meta = {"ContentCreatorName": "bench", "SeriesDescription": "mask", "SeriesNumber": "300", "InstanceNumber": "1"}
    (folder / "meta.json").write_text(json.dumps(meta | {"segmentAttributes": [segments]}))
    program = Path(sysconfig.get_path("scripts")) / "itkimage2segimage"
    words = {
        "--inputImageList": folder / "mask.nrrd",
        "--inputDICOMDirectory": series.paths[0].parent,
        "--inputMetadata": folder / "meta.json",
        "--outputDICOM": folder / "dcmqi.dcm",
    }
    return [str(program), "--skip", "1", *(str(word) for pair in words.items() for word in pair)]


if __name__ == "__main__":
    main()
