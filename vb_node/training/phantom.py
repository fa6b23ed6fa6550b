"""The phantom: generated heads with or without a deep-seated tumour, deterministic by seed.

It exists to train and to try the pipeline without a patient's data. What learns from it can claim nothing clinical.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.random import Generator

from vb_node.training.acquisition import ACQUISITIONS, Acquisition, Pose, acquire, blur, draw_grid, draw_pose, sample
from vb_node.training.anatomy import Contrast, load_head, paint_head
from vb_node.training.motion import moved
from vb_node.training.phantom_dicom import frame_of_reference_uid, write_study
from vb_node.training.tumour import CLASSES, paint_tumour
from vb_node.training.vessels import paint_vessels
from vb_node.types import Floats, Grid, Labels, Mask, Matrix, Volume

MOTION = 1  # which stream of a seed's numbers
Progress = Callable[[int, int], None]
LESION = "lesion.nii.gz"
Lay = Callable[[Acquisition, Pose, str, Generator], Grid]


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One generated head: raw intensities, and the truth on the same grid.

    ``labels`` is 1 in the lesion; ``atlas_from_patient`` (4, 4) is the affine part of the head's pose.
    """

    seed: int
    volume: Volume
    labels: Labels
    brain: Mask
    tumour_class: str | None
    site: str | None
    acquisition: Acquisition
    atlas_from_patient: Matrix


def make_case(
    seed: int,
    tumour_class: str | None,
    acquisition: Acquisition | None = None,
    lay: Lay = draw_grid,
    shading: float = 1.0,
    motion_mm: float = 0.0,
) -> PhantomCase:
    """Generate one head; ``None`` as class gives a head without tumour.

    ``acquisition`` is drawn when not given; ``lay`` decides which grid is acquired, ``shading`` scales the coil's, and
    ``motion_mm`` is how far the head moves meanwhile. A head that moves is the same head otherwise.
    """
    rng = np.random.default_rng(seed)
    kind: Acquisition = acquisition or ACQUISITIONS[int(rng.integers(len(ACQUISITIONS)))]
    contrast, pose = Contrast.draw(rng), draw_pose(rng)
    signal = paint_head(contrast, rng)
    paint_vessels(signal, contrast, rng)
    lesion, site = np.zeros(signal.shape, dtype=np.bool_), None
    if tumour_class is not None:
        lesion, site = paint_tumour(signal, tumour_class, contrast, rng)
    grid = lay(kind, pose, frame_of_reference_uid(seed), rng)
    clean, lesion_share, brain_share = _sample(signal, lesion, grid, pose)
    if motion_mm:
        clean = moved(clean, grid.spacing_mm[1:], motion_mm, np.random.default_rng([seed, MOTION]))
    return PhantomCase(
        seed=seed,
        volume=Volume(acquire(clean, grid, shading, rng), grid),
        labels=(lesion_share > 0.5).astype(np.uint8),
        brain=brain_share > 0.5,
        tumour_class=tumour_class,
        site=site,
        acquisition=kind,
        atlas_from_patient=pose.atlas_from_patient,
    )


def _sample(signal: Floats, lesion: Mask, grid: Grid, pose: Pose) -> list[Floats]:
    head = load_head()
    seen = blur(signal) if grid.spacing_mm[2] > 1.5 else signal
    fields = [seen, lesion.astype(np.float32), head.brain.astype(np.float32)]
    return sample(fields, head.grid, grid, pose)


def class_of(index: int) -> str:
    """Name the class of the n-th case of a set: the classes take turns."""
    names = tuple(CLASSES)
    return names[index % len(names)]


def generate(
    out: Path, cases: int, seed: int, kind: Literal["dicom", "nifti"], progress: Progress, motion_mm: float = 0.0
) -> list[Path]:
    """Write ``cases`` phantoms into ``out``, one folder each, as DICOM studies or as NIfTI, with the lesion beside.

    Returns
    -------
    list of Path
        The folders, in order.
    """
    folders = []
    for index in range(cases):
        case = make_case(seed + index, class_of(index), motion_mm=motion_mm)
        folder = out / f"phantom-{case.seed:06d}-{str(case.tumour_class).lower()}"
        folder.mkdir(parents=True, exist_ok=True)
        write_study(case, folder) if kind == "dicom" else _write_nifti(folder / "t1ce.nii.gz", case.volume.voxels, case)
        _write_nifti(folder / LESION, case.labels, case)
        folders.append(folder)
        progress(index + 1, cases)
    return folders


def _write_nifti(path: Path, voxels: Floats | Labels, case: PhantomCase) -> None:
    """Write voxels of a case with its RAS affine."""
    affine = np.diag([-1.0, -1, 1, 1]) @ case.volume.grid.affine_lps @ _KJI_FROM_IJK
    nib.save(nib.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)


_KJI_FROM_IJK = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
