"""The slices of a job as pictures: in order, with the outline where the segmentation is, and nothing decoded here."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from factories import affine, head, mr_series
from PIL import Image
from pydicom.uid import RLELossless
from results import provenance
from stations import House

from storage.schema import Job, JobInput, Result
from vb_node.dicom.key_image import ORANGE
from vb_node.dicom.seg import write_seg
from vb_node.dicom.series import arrange
from vb_node.web.slices import NotShown, Slices

SHAPE, LESION = (20, 40, 40), slice(6, 9)


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path, {}, routes=[])
    made.send(mr_series(head(SHAPE), affine((5.0, 2.0, 2.0))))
    return made


def _job(house: House, results: Path, *, is_outlined: bool = True) -> Job:
    """Make a job over what came, with a segmentation in which slice 7 has most of the lesion."""
    paths = list(house.spool)
    job = Job(id=1, token=1)
    events = house.events("instance received")
    job.inputs = [JobInput(sop_instance_uid=one.sop_instance_uid, sha256=one.details["sha256"]) for one in events]
    if is_outlined:
        series = arrange(paths)
        labels = np.zeros(SHAPE, np.uint8)
        labels[LESION, 15:25, 15:25] = 1
        labels[7, 10:30, 10:30] = 1
        path = results / "1" / "1" / "0-seg.dcm"
        path.parent.mkdir(parents=True)
        write_seg(series, labels, provenance(), {1: "Lesion 1"}).save_as(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        job.results = [Result(role="SEG", path="1/1/0-seg.dcm", sha256=sha256)]
    return job


def _orange(picture: bytes) -> int:
    pixels = np.array(Image.open(io.BytesIO(picture)))
    return int((pixels == ORANGE).all(axis=-1).sum())


def test_the_slice_with_most_of_the_lesion_comes_first_and_others_carry_no_line(house: House, tmp_path: Path) -> None:
    job, slices = _job(house, tmp_path / "results"), Slices(house.spool, tmp_path / "results")

    stack = slices.stack(job)
    lines = [_orange(slices.picture(job, k)) > 0 for k in range(len(stack))]

    assert (len(stack), stack.fullest) == (20, 7)
    assert [k for k, is_drawn in enumerate(lines) if is_drawn] == [6, 7, 8]


def test_without_a_segmentation_the_middle_slice_comes_first(house: House, tmp_path: Path) -> None:
    job, slices = _job(house, tmp_path, is_outlined=False), Slices(house.spool, tmp_path)

    assert slices.stack(job).fullest == 10
    assert _orange(slices.picture(job, 10)) == 0


@pytest.mark.parametrize("k", [-1, 20])
def test_a_slice_that_is_not_there_is_told(house: House, tmp_path: Path, k: int) -> None:
    with pytest.raises(NotShown, match="slice 0 to 19 expected"):
        Slices(house.spool, tmp_path).picture(_job(house, tmp_path, is_outlined=False), k)


def test_files_that_are_gone_are_told(house: House, tmp_path: Path) -> None:
    job = _job(house, tmp_path, is_outlined=False)
    for path in list(house.spool):
        path.unlink()

    with pytest.raises(NotShown, match="retention"):
        Slices(house.spool, tmp_path).stack(job)


def test_compressed_pixels_are_not_decoded_here(house: House, tmp_path: Path) -> None:
    job = _job(house, tmp_path, is_outlined=False)
    for path in list(house.spool):
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", f"{RLELossless}\0".encode()[:20]))

    with pytest.raises(NotShown, match="compressed"):
        Slices(house.spool, tmp_path).stack(job)
