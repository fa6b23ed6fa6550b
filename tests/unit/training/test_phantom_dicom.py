"""The phantom as DICOM: one study that a PACS takes and that gives the volume back."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom

from vb_node.training.phantom import PhantomCase
from vb_node.training.phantom_dicom import write_dicom, write_study


def test_the_series_gives_the_volume_back(thick_lymphoma: PhantomCase, tmp_path: Path) -> None:
    slices = [pydicom.dcmread(path) for path in write_dicom(thick_lymphoma, tmp_path)]

    grid = thick_lymphoma.volume.grid
    voxels = np.stack([instance.pixel_array for instance in slices])
    positions = np.array([instance.ImagePositionPatient for instance in slices], dtype=float)
    expected = grid.to_lps(np.array([[k, 0, 0] for k in range(grid.shape[0])]))
    assert np.array_equal(voxels, thick_lymphoma.volume.voxels)
    assert np.allclose(positions, expected, atol=1e-4)


def test_rows_and_columns_point_where_the_grid_does(thick_lymphoma: PhantomCase, tmp_path: Path) -> None:
    first = pydicom.dcmread(write_dicom(thick_lymphoma, tmp_path)[0])

    grid = thick_lymphoma.volume.grid
    row, column = np.reshape(np.array(first.ImageOrientationPatient, dtype=float), (2, 3))
    row_mm, column_mm = first.PixelSpacing
    assert np.allclose(row * column_mm, grid.affine_lps[:3, 2], atol=1e-5)
    assert np.allclose(column * row_mm, grid.affine_lps[:3, 1], atol=1e-5)


def test_a_case_written_twice_is_the_same_study(thick_lymphoma: PhantomCase, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "twice").mkdir()

    once, twice = (write_study(thick_lymphoma, tmp_path / name) for name in ("once", "twice"))

    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in twice]


def test_a_study_holds_a_series_to_take_and_two_to_refuse(thick_lymphoma: PhantomCase, tmp_path: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in write_study(thick_lymphoma, tmp_path)]

    series = {uid: list(of) for uid, of in groupby(headers, key=lambda header: str(header.SeriesInstanceUID))}
    agents = [of[0].get("ContrastBolusAgent") for of in series.values()]
    assert sorted(of[0].SeriesDescription for of in series.values()) == ["T1 SE TRA +C", "T2 TSE", "localizer"]
    assert sum(agent is not None for agent in agents) == 1
    assert len({header.StudyInstanceUID for header in headers}) == 1
    assert len({header.FrameOfReferenceUID for header in headers}) == 1
    assert len({header.SOPInstanceUID for header in headers}) == len(headers)


def test_every_instance_is_marked_as_a_phantom(thick_lymphoma: PhantomCase, tmp_path: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in write_study(thick_lymphoma, tmp_path)]

    assert all(str(header.PatientName).startswith("PHANTOM^") for header in headers)
