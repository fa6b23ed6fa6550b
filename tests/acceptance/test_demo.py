"""``vb-node demo``: from nothing to results, and the prior where the phantom's lesion is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import SegmentationStorage

from vb_node.demo import PHANTOM_SEED
from vb_node.dicom import bands, seg
from vb_node.training.phantom import class_of, make_case


def test_the_demo_ends_with_a_segmentation_over_the_phantoms_lesion(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vb_node", "demo", "--out", str(tmp_path)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    (home,) = tmp_path.iterdir()
    results = [dcmread(path) for path in (home / "archive").glob("*.dcm")]
    assert sorted(result.Modality for result in results) == ["OT", "SEG", "SEG", "SR"]
    assert (home / "prior.png").is_file()
    segmentations = {result.ContentLabel: result for result in results if result.SOPClassUID == SegmentationStorage}
    segmentation = segmentations[seg.CONTENT_LABEL]
    assert set(segmentations) == {seg.CONTENT_LABEL, bands.CONTENT_LABEL}
    case = make_case(PHANTOM_SEED, class_of(0))
    lesion = case.labels > 0
    found = np.zeros_like(lesion)
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    for frame, place in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array([place.PlanePositionSequence[0].ImagePositionPatient], float)
        k = int(np.rint(case.volume.grid.to_index(position)[0, 0]))
        found[k] |= frame > 0
    assert (found & lesion).sum() >= 0.5 * lesion.sum()
    assert found.sum() < 3 * lesion.sum()
