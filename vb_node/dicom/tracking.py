"""A lesion keeps its tracking UID from one revision to the next (PS3.3 C.8.20.2, PS3.16 TID 1411)."""

import logging
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from vb_node.dicom.placement import rebuilt
from vb_node.types import Grid, Labels

log = logging.getLogger(__name__)

# Of the smaller of the two, in voxels of the new grid: less is a neighbour, not the same lesion.
LEAST_OVERLAP = 0.1


def carried_on(before: Path, labels: Labels, grid: Grid) -> dict[int, str]:
    """Give each lesion in ``labels`` [k, j, i] on ``grid`` the tracking UID of the earlier segment it overlaps most.

    ``before`` is the Segmentation of the result that is superseded, on whichever slices it had. A lesion without an
    earlier one is left out; an earlier one goes to one lesion at most. A file that cannot be read carries nothing on:
    the new result is worth more than its thread to the old one.
    """
    try:
        segmentation = dcmread(before)
        earlier = placed(segmentation, grid)
        tracking_uids = {int(item.SegmentNumber): str(item.TrackingUID) for item in segmentation.SegmentSequence}
    except (OSError, InvalidDicomError, AttributeError, LookupError, ValueError):
        log.exception("tracking not carried on", extra={"file": before.name})
        return {}
    carried: dict[int, str] = {}
    for _, label, segment in sorted(_overlaps(earlier, labels), reverse=True):
        if label not in carried and tracking_uids[segment] not in carried.values():
            carried[label] = tracking_uids[segment]
    return carried


def placed(segmentation: Dataset, grid: Grid) -> Labels:
    """Lay segments on a grid, each frame by its own position; empty where they cannot be laid."""
    is_alike = (segmentation.Rows, segmentation.Columns) == grid.shape[1:]
    if not is_alike or segmentation.FrameOfReferenceUID != grid.frame_of_reference_uid:
        return np.zeros(grid.shape, np.uint8)
    frames = segmentation.PerFrameFunctionalGroupsSequence
    positions = np.array([frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames], dtype=np.float64)
    slices = np.rint(grid.to_index(positions)[:, 0]).astype(np.intp)
    is_inside = (slices >= 0) & (slices < grid.shape[0])
    return rebuilt(segmentation, np.where(is_inside, slices, -1), grid.shape)


def _overlaps(earlier: Labels, labels: Labels) -> list[tuple[int, int, int]]:
    """List (voxels in common, label, earlier segment) of each pair that is one lesion."""
    pairs, common = np.unique(np.stack([labels, earlier], axis=-1).reshape(-1, 2), axis=0, return_counts=True)
    sizes, earlier_sizes = np.bincount(labels.ravel(), minlength=256), np.bincount(earlier.ravel(), minlength=256)
    return [
        (int(count), int(label), int(segment))
        for (label, segment), count in zip(pairs, common, strict=True)
        if label and segment and count >= LEAST_OVERLAP * min(sizes[label], earlier_sizes[segment])
    ]
