"""Programs of others judge the maps and the pages: dciodvfy and dcmtk, dcmqi for the values, Poppler for the words.

DCMTK's programs are called by their absolute paths, as pynetdicom installs some of the same names; dcmqi's come with
its Python package.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from factories import head
from pydicom import dcmread
from pydicom.dataset import Dataset
from results import analysis_of, oblique, provenance, score_map, two_lesions
from sources import LINES, REAL, SOURCES

from vb_node.dicom.bands import BANDS, write_bands
from vb_node.dicom.check_companions import check_bands, check_document, check_parametric_map, check_text_page
from vb_node.dicom.document import write_document
from vb_node.dicom.key_image import WARNING, draw, write_page, write_text_page
from vb_node.dicom.parametric_map import write_parametric_map
from vb_node.dicom.series import arrange
from vb_node.types import Floats, Series

BIN = Path("/usr/bin")
DCMQI = Path(sys.executable).parent


def _results(series: Series) -> dict[str, Dataset]:
    """Write every object of one series, each after its own check."""
    probability, findings = score_map(series.grid.shape), analysis_of(series, two_lesions(series.grid.shape)).findings
    drawing = draw(series, head(series.grid.shape).astype(np.float32), findings)
    refusal = provenance().of_refusal("NO_BRAIN")
    made = {
        "bands": write_bands(series, probability, provenance()),
        "map": write_parametric_map(series, probability, provenance()),
        "PDF": write_document(series.headers, "AI tumour analysis", LINES, drawing.picture, provenance()),
        "PDF, not analysed": write_document(series.headers, "AI tumour analysis", LINES, None, refusal),
        "page": write_page(series, drawing, LINES, provenance()),
        "page, not analysed": write_text_page(series.headers, LINES, refusal),
    }
    check_bands(series, probability, made["bands"])
    check_parametric_map(series, probability, made["map"])
    check_document(series.headers, made["PDF"])
    check_text_page(series.headers, made["page, not analysed"])
    return made


def _written(series: Series, folder: Path) -> dict[str, Path]:
    paths = {}
    for name, result in _results(series).items():
        paths[name] = folder / f"{name.replace(', ', '_').replace(' ', '_')}.dcm"
        result.save_as(paths[name], enforce_file_format=True)
    return paths


def _run(program: Path, *arguments: str) -> str:
    assert program.is_file(), f"{program} is missing: install dicom3tools, dcmtk and poppler-utils, and dcmqi by pip"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    assert done.returncode >= 0, f"{program} crashed"
    return done.stdout + done.stderr


def _without_error(paths: dict[str, Path]) -> None:
    for name, path in paths.items():
        said = _run(BIN / "dciodvfy", "-new", str(path)).splitlines()
        assert [line for line in said if line.startswith(("Error", "Abort"))] == [], name
        assert "error" not in _run(BIN / "dcmdump", "+E", "-q", str(path)).lower(), name


def _image(program: str, path: Path, folder: Path) -> list[SimpleITK.Image]:
    """Read an object back by dcmqi: the map is one image, the bands are one for each segment or one for all."""
    folder.mkdir()
    _run(DCMQI / program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "--outputType", "nrrd")
    return [SimpleITK.ReadImage(str(found)) for found in sorted(folder.glob("*.nrrd"))]


def _on_the_grid(image: SimpleITK.Image, series: Series) -> Floats:
    """Put the voxels of an image, by their own world positions, on the grid of the series."""
    voxels = SimpleITK.GetArrayFromImage(image)
    where = np.argwhere(voxels)
    turned = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    index = series.grid.to_index(where[:, ::-1] @ turned.T + image.GetOrigin())
    assert np.abs(index - np.rint(index)).max() < 0.01
    placed = np.zeros(series.grid.shape, np.float32)
    placed[tuple(np.rint(index).astype(int).T)] = voxels[tuple(where.T)]
    return placed


def _read_back(series: Series, paths: dict[str, Path], folder: Path) -> None:
    probability = score_map(series.grid.shape)
    (values,) = _image("paramap2itkimage", paths["map"], folder / "map")
    assert np.array_equal(_on_the_grid(values, series), probability)
    bands = _image("segimage2itkimage", paths["bands"], folder / "bands")
    shown = sum(_on_the_grid(image, series) for image in bands)
    assert np.array_equal(shown, np.digitize(probability, [band.lowest for band in BANDS]))


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_maps_and_pages_are_without_error_and_dcmqi_reads_every_value_in_its_place(
    make: Callable[[], Series], tmp_path: Path
) -> None:
    series = make()

    paths = _written(series, tmp_path)

    _without_error(paths)
    _read_back(series, paths, tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", REAL.values(), ids=REAL.keys())
def test_maps_and_pages_of_a_real_source_are_without_error(folder: str, real_data: Path, tmp_path: Path) -> None:
    series = arrange((real_data / folder).iterdir())

    paths = _written(series, tmp_path)

    _without_error(paths)
    _read_back(series, paths, tmp_path)


def test_dcmqi_crashes_on_a_map_without_anatomy(tmp_path: Path) -> None:
    """The reason for one attribute: when dcmqi does without it, so may we."""
    path = _written(oblique(), tmp_path)["map"]
    pmap = dcmread(path)
    del pmap.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
    pmap.save_as(path)

    assert _image("paramap2itkimage", path, tmp_path / "map") == []


@pytest.mark.parametrize("name", ["PDF", "PDF, not analysed"])
def test_the_words_of_the_page_can_be_copied(name: str, tmp_path: Path) -> None:
    document = dcmread(_written(oblique(), tmp_path)[name])
    pdf = tmp_path / "page.pdf"
    pdf.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])

    words = _run(BIN / "pdftotext", "-layout", str(pdf), "-").splitlines()

    said = [line.strip() for line in words if line.strip()]
    assert said == [WARNING, "AI tumour analysis", *LINES]
