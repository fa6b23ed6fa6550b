"""Series -> volume: the voxels of every plane in their slots."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vb_node.dicom.nifti import without_localizers
from vb_node.dicom.pixels import MAX_VOXELS, is_compressed, read_frames
from vb_node.dicom.read import read_instances
from vb_node.dicom.series import MIN_SLICES, arrange_instances
from vb_node.errors import MixedOrientations, UnreadablePixels
from vb_node.types import Floats, Series, Volume


@dataclass(frozen=True)
class _Piece:
    """Frames of one instance and the slots of the volume they go to."""

    path: Path
    header: Any
    slots: list[int]
    frame_numbers: list[int]


def load_series(paths: Iterable[Path], min_slices: int = MIN_SLICES) -> tuple[Series, Volume]:
    """Order the files of one series and read them; raise ``Unfit`` as ``arrange_files``, or for pixels."""
    series = arrange_files(paths, min_slices)
    return series, read_volume(series)


def arrange_files(paths: Iterable[Path], min_slices: int = MIN_SLICES) -> Series:
    """Order the files of one series by their headers.

    Where planes look in different directions, the declared localizers are left out and the rest is tried again.

    Raises
    ------
    Unfit
        The files do not make one volume.
    """
    instances = read_instances(paths)
    try:
        return arrange_instances(instances, min_slices)
    except MixedOrientations:
        kept = without_localizers(instances)
        if len(kept) == len(instances):
            raise
        return arrange_instances(kept, min_slices)


def read_volume(series: Series) -> Volume:
    """Read and rescale all planes of a series; compressed ones by as many threads as there are cores."""
    if np.prod(series.grid.shape) > MAX_VOXELS:
        raise UnreadablePixels(f"a volume of {series.grid.shape} voxels: expected at most {MAX_VOXELS} voxels")
    voxels = np.empty(series.grid.shape, np.float32)
    cores = len(os.sched_getaffinity(0))
    if not is_compressed(series.headers[0]):
        for piece in _pieces(series):
            _fill(voxels, piece)
        return Volume(voxels, series.grid)
    share = -(-len(series.planes) // cores)
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda piece: _fill(voxels, piece), _shares(_pieces(series), share)))
    return Volume(voxels, series.grid)


def _fill(voxels: Floats, piece: _Piece) -> None:
    voxels[piece.slots] = read_frames(piece.path, piece.header, piece.frame_numbers)


def _pieces(series: Series) -> list[_Piece]:
    pieces = {
        str(header.SOPInstanceUID): _Piece(path, header, [], [])
        for header, path in zip(series.headers, series.paths, strict=True)
    }
    for slot, plane in enumerate(series.planes):
        pieces[plane.sop_instance_uid].slots.append(slot)
        pieces[plane.sop_instance_uid].frame_numbers.append(plane.frame_number or 1)
    return list(pieces.values())


def _shares(pieces: list[_Piece], size: int) -> list[_Piece]:
    """Cut a multi-frame instance so that every core gets a share of its frames."""
    return [
        _Piece(piece.path, piece.header, piece.slots[at : at + size], piece.frame_numbers[at : at + size])
        for piece in pieces
        for at in range(0, len(piece.slots), size)
    ]
