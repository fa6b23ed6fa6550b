"""A data set of a site's own cases, checked as a whole before anything is computed, and its volumes.

Every problem is told at once, so that a data set is mended in one go. Problems name cases, never patients.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from vb_node.dicom.nifti import aligned, read_nifti
from vb_node.dicom.read import read_folder
from vb_node.dicom.volume import arrange_files, read_volume
from vb_node.errors import ConfigError, Unfit
from vb_node.pipeline.select import IMAGE_CLASSES, select, summarise
from vb_node.training.manifest import Entry, Wrong, is_nifti, read_entries
from vb_node.types import Grid, Labels, Volume

MOST_TOLD = 60
Checked = Callable[[int, int], None]


@dataclass(frozen=True)
class DataCase(Entry):
    """One case that was checked; ``sha256`` is over the content of image and mask."""

    sha256: str


@dataclass(frozen=True)
class DataSet:
    """Cases in order of their names; ``sha256`` is over names, patients, classes and content."""

    cases: tuple[DataCase, ...]
    sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, in alphabetical order."""
        return tuple(sorted({case.tumour_class for case in self.cases if case.tumour_class}))

    @property
    def is_synthetic(self) -> bool:
        """Say whether there is no patient among them."""
        return all(case.is_phantom for case in self.cases)

    def with_tumour(self) -> "DataSet":
        """Leave out heads without tumour."""
        return data_set([case for case in self.cases if case.tumour_class])


def data_set(cases: Sequence[DataCase]) -> DataSet:
    """Join cases to a set."""
    whole = sha256()
    ordered = tuple(sorted(cases, key=lambda case: case.name))
    for case in ordered:
        whole.update(f"{case.name}\n{case.patient}\n{case.tumour_class}\n{case.sha256}\n".encode())
    return DataSet(ordered, whole.hexdigest())


def read_data_set(path: Path, progress: Checked = lambda done, total: None) -> DataSet:
    """Read which cases a folder or a manifest names, and check each of them.

    Raises
    ------
    ConfigError
        Something is wrong with the set; every problem is named.
    """
    entries, problems = read_entries(path)
    cases = []
    for done, entry in enumerate(entries, start=1):
        try:
            cases.append(_checked(entry))
        except Wrong as wrong:
            problems.append(f"{entry.name}: {wrong}")
        progress(done, len(entries))
    problems += [*_clashes(entries), *_copies(cases)]
    if problems:
        more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise ConfigError(f"data set {path}:\n" + "\n".join(f"  {one}" for one in [*problems[:MOST_TOLD], *more]))
    return data_set(cases)


def _checked(entry: Entry) -> DataCase:
    files, grid = _look(entry.image)
    if entry.lesion is not None:
        if entry.tumour_class is None:
            raise Wrong("a mask, yet the class says that there is no tumour")
        _check_lesion(entry.lesion, grid)
        files = [*files, entry.lesion]
    return DataCase(entry.name, entry.patient, entry.tumour_class, entry.image, entry.lesion, _digest(files))


def _look(image: Path) -> tuple[list[Path], Grid]:
    """Give the files of a volume and its grid, read from headers alone."""
    if image.is_dir():
        try:
            series = arrange_files(_chosen_series(image))
        except Unfit as error:
            raise Wrong(str(error)) from error
        return list(series.paths), series.grid
    if not is_nifti(image):
        raise Wrong(f"{image.name} is missing, or is neither a NIfTI file nor a folder with a DICOM study")
    return [image], _header_grid(image)


def _header_grid(path: Path) -> Grid:
    try:
        header: Any = nibabel.load(path)
    except (OSError, ImageFileError, EOFError) as error:
        raise Wrong(f"{path.name} is missing or no NIfTI file") from error
    if len(header.shape) != 3:
        raise Wrong(f"{path.name}: three axes expected, {len(header.shape)} came")
    turned = np.diag([-1.0, -1, 1, 1]) @ header.affine @ np.eye(4)[[2, 1, 0, 3]]
    if not np.isfinite(turned).all() or abs(np.linalg.det(turned)) < 1e-6:
        raise Wrong(f"{path.name}: its affine places it nowhere")
    k, j, i = header.shape[::-1]
    return Grid((int(k), int(j), int(i)), turned, "")


def _check_lesion(lesion: Path, grid: Grid) -> None:
    if not is_nifti(lesion):
        raise Wrong(f"{lesion.name}: a mask is a NIfTI file")
    placed = _header_grid(lesion)
    if sorted(placed.shape) != sorted(grid.shape):
        raise Wrong(f"{lesion.name}: mask of {placed.shape} voxels over an image of {grid.shape}")
    try:
        mask = aligned(read_nifti(lesion), grid).voxels
    except Unfit as error:
        raise Wrong(f"{lesion.name}: the mask does not lie on its image: {error}") from error
    except (OSError, EOFError, ValueError) as error:
        raise Wrong(f"{lesion.name} is damaged") from error
    if not (mask > 0).any():
        raise Wrong(f"{lesion.name}: the mask is empty: leave it out, or say that there is no tumour")


def _digest(files: Sequence[Path]) -> str:
    whole = sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def _clashes(entries: Sequence[Entry]) -> Iterator[str]:
    """Name what no single case shows: names given twice, and a patient in two classes."""
    names, of_patient = defaultdict(list), defaultdict(list)
    for number, entry in enumerate(entries, start=1):
        names[entry.name].append(number)
        of_patient[entry.patient].append(entry)
    yield from (f"{name}: the name came {len(numbers)} times" for name, numbers in names.items() if len(numbers) > 1)
    for its in of_patient.values():
        classes = sorted({str(entry.tumour_class) for entry in its})
        if len(classes) > 1:
            said = f"one patient in {len(classes)} classes ({', '.join(classes)})"
            yield f"{', '.join(entry.name for entry in its)}: {said}"


def _copies(cases: Sequence[DataCase]) -> Iterator[str]:
    """Name images that stand under two patients: tested on what was trained on, a set would flatter."""
    of_content = defaultdict(list)
    for case in cases:
        of_content[case.sha256].append(case)
    for same in of_content.values():
        if len({case.patient for case in same}) > 1:
            yield f"{', '.join(case.name for case in same)}: the same image under more than one patient"


def _chosen_series(folder: Path) -> list[Path]:
    """Choose the series of a folder with a DICOM study; where there is but one, that."""
    study = read_folder(folder)
    if not study:
        raise Wrong("the folder holds no image")
    images = {uid: [one for one in its if one.header.SOPClassUID in IMAGE_CLASSES] or its for uid, its in study.items()}
    if len(images) == 1:
        return [one.path for one in next(iter(images.values()))]
    choices = select([summarise(its[0].header, len(its)) for its in images.values()])
    taken = next((choice for choice in choices if choice.is_taken), None)
    if taken is None:
        reasons = "; ".join(sorted({choice.reason for choice in choices}))
        raise Wrong(f"{len(study)} series, and none is a T1 series with contrast agent: {reasons}")
    return [one.path for one in images[taken.series_instance_uid]]


def case_files(case: DataCase) -> list[Path]:
    """Give the files of a case's volume."""
    return _chosen_series(case.image) if case.image.is_dir() else [case.image]


def read_case(case: DataCase) -> tuple[Volume, Labels | None]:
    """Read a case's volume, and its lesion on the same grid where it has a mask."""
    is_dicom = case.image.is_dir()
    volume = read_volume(arrange_files(case_files(case))) if is_dicom else read_nifti(case.image)
    if case.lesion is None:
        return volume, None
    return volume, (aligned(read_nifti(case.lesion), volume.grid).voxels > 0).astype(np.uint8)


def lesion_ml(case: Entry) -> float | None:
    """Measure the drawn lesion, mL; None where there is no mask."""
    if case.lesion is None:
        return None
    mask = read_nifti(case.lesion)
    return float((mask.voxels > 0).sum() * mask.grid.voxel_mm3 / 1000)
