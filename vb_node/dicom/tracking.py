"""A lesion keeps its tracking UID from one revision to the next (PS3.3 C.8.20.2, PS3.16 TID 1411)."""

from pathlib import Path

import numpy as np
from highdicom.seg import segread

from vb_node.types import Grid, Labels, Matrix

# Of the smaller of the two, in voxels of the new grid: less is a neighbour, not the same lesion.
LEAST_OVERLAP = 0.1


def carried_on(before: Path, labels: Labels, grid: Grid) -> dict[int, str]:
    """Give each lesion in ``labels`` [k, j, i] on ``grid`` the tracking UID of the earlier segment it overlaps most.

    ``before`` is the Segmentation of the result that is superseded, on whichever slices it had. A lesion without an
    earlier one is left out; an earlier one goes to one lesion at most.
    """
    segmentation = segread(before)
    if segmentation.FrameOfReferenceUID != grid.frame_of_reference_uid:
        return {}
    volume = segmentation.get_volume(combine_segments=True)
    earlier = _resampled(np.asarray(volume.array), np.asarray(volume.affine), grid)
    tracking_uids = {int(item.SegmentNumber): str(item.TrackingUID) for item in segmentation.SegmentSequence}
    carried: dict[int, str] = {}
    for _, label, segment in sorted(_overlaps(earlier, labels), reverse=True):
        if label not in carried and tracking_uids[segment] not in carried.values():
            carried[label] = tracking_uids[segment]
    return carried


def _resampled(array: Labels, affine_lps: Matrix, grid: Grid) -> Labels:
    """Read the earlier segments at the voxel centres of the new grid."""
    index_map = np.linalg.inv(affine_lps) @ grid.affine_lps
    index = np.moveaxis(np.indices(grid.shape), 0, -1) @ index_map[:3, :3].T + index_map[:3, 3]
    nearest = np.rint(index).astype(int)
    inside = ((nearest >= 0) & (nearest < array.shape)).all(axis=-1)
    found = np.zeros(grid.shape, np.uint8)
    found[inside] = array[tuple(nearest[inside].T)]
    return found


def _overlaps(earlier: Labels, labels: Labels) -> list[tuple[int, int, int]]:
    """List (voxels in common, label, earlier segment) of each pair that is one lesion."""
    pairs, common = np.unique(np.stack([labels, earlier], axis=-1).reshape(-1, 2), axis=0, return_counts=True)
    sizes, earlier_sizes = np.bincount(labels.ravel(), minlength=256), np.bincount(earlier.ravel(), minlength=256)
    return [
        (int(count), int(label), int(segment))
        for (label, segment), count in zip(pairs, common, strict=True)
        if label and segment and count >= LEAST_OVERLAP * min(sizes[label], earlier_sizes[segment])
    ]
