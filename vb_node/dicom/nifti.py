"""Volumes as NIfTI, and dicom2nifti as the second reader of a series.

dicom2nifti knows the vendors' habits, but of a mosaic it makes a run of volumes, and a tilted stack it refuses or
resamples: neither stands on the source's grid, where results must be written. So it converts what leaves the node as
NIfTI, where it checks our own reader too, and it says which instances of a series are localizers. Its global settings
are left as they are.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from vb_node.dicom.read import Instance
from vb_node.errors import BadGeometry, Unfit, UnreadablePixels
from vb_node.types import Grid, Matrix, Series, Volume

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# NIfTI counts i, j, k where our arrays count k, j, i.
_REVERSED = np.eye(4)[[2, 1, 0, 3]]
_OFF_VOXEL = 0.1


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume with its RAS affine, in mm, as scanner coordinates."""
    nibabel.save(image_of(volume.voxels, volume.grid), path)


def image_of(voxels: NDArray[Any], grid: Grid) -> nibabel.Nifti1Image:
    """Make the image of an array on a grid; its header names nobody."""
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine_ras(grid))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    return image


def affine_ras(grid: Grid) -> Matrix:
    """Map (i, j, k), as NIfTI counts, to RAS mm."""
    return np.asarray(_RAS_FROM_LPS @ grid.affine_lps @ _REVERSED)


def read_nifti(path: Path, frame_of_reference_uid: str = "") -> Volume:
    """Read a NIfTI volume to [k, j, i] and LPS; NIfTI names no frame of reference."""
    return _volume(nibabel.load(path), frame_of_reference_uid)


def export_source(series: Series, volume: Volume, path: Path) -> str:
    """Write a source series as NIfTI and name the converter.

    dicom2nifti converts; where it refuses the series, our own reading is written.

    Raises
    ------
    BadGeometry, UnreadablePixels
        The two readings differ in place or in value: then neither is given away.
    """
    try:
        converted = convert(series.paths)
    except Unfit:
        write_nifti(volume, path)
        return "vb-node"
    values = aligned(converted, volume.grid).voxels
    if not np.allclose(values, volume.voxels, rtol=1e-4, atol=1e-3):
        raise UnreadablePixels(f"dicom2nifti reads other values than vb-node from series {series.series_instance_uid}")
    write_nifti(converted, path)
    return "dicom2nifti"


def convert(paths: Iterable[Path]) -> Volume:
    """Convert the files of one series by dicom2nifti, on the grid that it chooses.

    Raises
    ------
    Unfit
        dicom2nifti refuses the series, or makes something else than one grey volume of it.
    """
    from dicom2nifti.convert_dicom import dicom_array_to_nifti  # late: a second of import
    from dicom2nifti.exceptions import ConversionError, ConversionValidationError

    datasets = [_without_empty_times(dcmread(path, force=True)) for path in paths]
    refusals = (
        ConversionError,
        ConversionValidationError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    )
    try:
        image = dicom_array_to_nifti(datasets, None, reorient_nifti=False)["NII"]
    except refusals as error:
        raise Unfit(f"dicom2nifti does not convert the series: {type(error).__name__} {error}") from error
    if len(image.shape) != 3 or image.get_data_dtype().kind not in "iuf":
        raise BadGeometry(f"expected one grey volume from dicom2nifti, came {image.shape} of {image.get_data_dtype()}")
    return _volume(image, str(datasets[0].get("FrameOfReferenceUID") or ""))


def aligned(volume: Volume, grid: Grid) -> Volume:
    """Turn and flip the axes of a volume that has the voxels of ``grid`` in another order; values stay as they are.

    Raises
    ------
    BadGeometry
        The voxels are not those of ``grid``, to a tenth of a voxel.
    """
    ours_from_theirs = np.linalg.inv(grid.affine_lps) @ volume.grid.affine_lps
    turn = np.rint(ours_from_theirs[:3, :3])
    axes, is_flipped = np.abs(turn).argmax(axis=1), turn.sum(axis=1) < 0
    is_permutation = (np.abs(turn).sum(axis=0) == 1).all() and sorted(axes) == [0, 1, 2]
    if not is_permutation or tuple(np.array(volume.voxels.shape)[axes]) != grid.shape:
        raise BadGeometry(f"two readings of one series differ in shape: {volume.voxels.shape} and {grid.shape} voxels")
    begin = np.where(is_flipped, np.array(grid.shape) - 1, 0)
    drift = (np.abs(ours_from_theirs[:3, :3] - turn) * volume.voxels.shape).sum(axis=1)
    off = float((np.abs(ours_from_theirs[:3, 3] - begin) + drift).max())
    if off > _OFF_VOXEL:
        raise BadGeometry(f"two readings of one series stand up to {off:.2f} voxels apart")
    turned = np.flip(volume.voxels.transpose(axes), tuple(int(axis) for axis in np.flatnonzero(is_flipped)))
    return Volume(np.ascontiguousarray(turned), grid)


def without_localizers(instances: Sequence[Instance]) -> list[Instance]:
    """Leave out what dicom2nifti knows for a localizer that a vendor put into the series."""
    from dicom2nifti.convert_generic import remove_localizers_by_imagetype  # late: a second of import

    kept = {id(header) for header in remove_localizers_by_imagetype([instance.header for instance in instances])}
    return [instance for instance in instances if id(instance.header) in kept]


def _without_empty_times(dataset: Dataset) -> Dataset:
    """Take away empty times: dicom2nifti asks for a number wherever the attribute is."""
    for keyword in ("RepetitionTime", "EchoTime"):
        if keyword in dataset and dataset[keyword].is_empty:
            del dataset[keyword]
    return dataset


def _volume(image: Any, frame_of_reference_uid: str) -> Volume:
    voxels = np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0))
    affine_lps = _RAS_FROM_LPS @ np.asarray(image.affine, np.float64) @ _REVERSED
    return Volume(voxels, Grid(voxels.shape, affine_lps, frame_of_reference_uid))
