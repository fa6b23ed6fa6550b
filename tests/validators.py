"""Programs of others that read and judge what we write: dicom3tools, DCMTK, PixelMed, dcmqi.

Debian's programs are called by their absolute paths, as pynetdicom installs some of the same names.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from processes import tool

from vb_node.types import Labels, Series

JUDGE_REPORTS = Path(__file__).parent / "JudgeReports.java"
PIXELMED = Path("/usr/share/java/pixelmed.jar")
# Its rules are larger than Java's default limits for XPath.
NO_LIMITS = [f"-Djdk.xml.xpath{limit}=0" for limit in ("TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]
# its rules are read anew for each document: compiling them well does not pay
QUICKLY = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
WITHIN_S = 400
# Where in the content tree: 1.9.3 is the third item below the ninth of the root.
PLACE = re.compile(r"\b1((?:\.\d+)+): ")


def run(*command: str | Path) -> str:
    """Run a program and give all it says; it must not crash."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=WITHIN_S)
    assert done.returncode >= 0, f"{command[0]} was killed by signal {-done.returncode}"
    return done.stdout + done.stderr


def dciodvfy(path: Path) -> list[str]:
    """Give the complaints of David Clunie's dciodvfy, errors and warnings."""
    return _complaints(run(tool("dciodvfy"), "-new", path))


def dsrdump(path: Path) -> str:
    return run(tool("dsrdump"), "+Pl", path)


def dcmdump(path: Path) -> str:
    return run(tool("dcmdump"), "+E", "-q", path)


def pixelmed(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """Give the complaints of PixelMed's DicomSRValidator about each document, errors and warnings."""
    assert PIXELMED.is_file(), f"{PIXELMED} is missing: apt-get install libpixelmed-java default-jdk-headless"
    said = run(tool("java"), *QUICKLY, *NO_LIMITS, "-cp", PIXELMED, JUDGE_REPORTS, *paths)
    judged = {Path(name): text for name, text in re.findall(r"^FILE (.+)\n((?:(?!FILE ).*\n?)*)", said, re.MULTILINE)}
    assert set(judged) == set(paths), said
    assert all("IOD validation complete" in text for text in judged.values()), said
    return {path: _complaints(text) for path, text in judged.items()}


def _complaints(said: str) -> list[str]:
    lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning", "Abort"))]
    return sorted(set(lines))


def dcmqi_masks(path: Path, folder: Path, series: Series) -> Labels:
    """Read a Segmentation by dcmqi, as 3D Slicer does, and put its segments on the grid of ``series`` by their places.

    Raises
    ------
    AssertionError
        A voxel that dcmqi places farther than 0.01 of a voxel from one of the grid, or beyond its edge.
    """
    folder.mkdir()
    said = _dcmqi("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd")
    labels = np.zeros(series.grid.shape, np.uint8)
    images = sorted(folder.glob("*.nrrd"))
    assert images, said
    for image in (SimpleITK.ReadImage(str(image)) for image in images):
        values = SimpleITK.GetArrayFromImage(image)
        steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        where = np.argwhere(values)
        index = series.grid.to_index(where[:, ::-1] @ steps.T + image.GetOrigin())
        nearest = np.rint(index).astype(int)
        assert np.abs(index - nearest).max(initial=0) < 0.01
        assert (nearest >= 0).all()
        assert (nearest < series.grid.shape).all()
        labels[tuple(nearest.T)] = values[tuple(where.T)]
    return labels


def dcmqi_report(path: Path, folder: Path) -> dict[str, Any]:
    """Read an SR document by dcmqi's tid1500reader, as 3D Slicer does."""
    written = folder / f"{path.stem}.json"
    said = _dcmqi("tid1500reader", "--inputDICOM", path, "--outputMetadata", written)
    assert written.is_file(), said
    read: dict[str, Any] = json.loads(written.read_text())
    return read


def _dcmqi(program: str, *arguments: str | Path) -> str:
    """Run one of dcmqi's programs without the wrapper that pip puts before it: that would start a Python for each."""
    installed = [Path(str(file.locate())) for file in files("dcmqi") or [] if file.parts[-2:] == ("bin", program)]
    assert installed, f"{program} is missing: pip install dcmqi"
    return run(installed[0], *arguments)
