"""Real heads of the shared cases, as volumes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK

from vb_node.types import Grid, Volume

BTP_SPACING_MM = (0.94, 0.94, 6.5)
"""The collection's usual spacing: these files have lost theirs."""


def to_volume(image: SimpleITK.Image) -> Volume:
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Volume(voxels, Grid(voxels.shape, affine, "1.2.3"))


def series(folder: Path) -> Volume:
    return to_volume(SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))))


def spaced(path: Path) -> Volume:
    image = SimpleITK.ReadImage(str(path))
    image.SetSpacing(BTP_SPACING_MM)
    return to_volume(image)


def multiframe(folder: Path) -> Volume:
    return to_volume(SimpleITK.ReadImage(str(next(folder.iterdir()))))


HEADS: dict[str, Callable[[Path], Volume]] = {
    "oblique T1CE, defaced": lambda root: series(root / "remind_022_t1ce_seg/3DAXT1postcontrast_MRI"),
    "sagittal with neck": lambda root: series(root / "philips_mprage_3t/In/cl"),
    "thick slices": lambda root: to_volume(SimpleITK.ReadImage(str(root / "t1ce_thick_nrrd/brain1_image.nrrd"))),
    "treated glioblastoma": lambda root: spaced(root / "btp_gbm_nifti/01/Pre_Scan_T1.nii.gz"),
    "strong shading": lambda root: multiframe(root / "siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl"),
}
