"""Lesions on the source grid -> findings: size in mm, side and site."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from vb_node.pipeline.site import site_of
from vb_node.types import Finding, Grid, Labels, Mask, Matrix, Region

# A lesion belongs to a side when this share of its voxels does; else it lies across the midline.
ON_ONE_SIDE = 0.75


def measure(labels: Labels, grid: Grid, regions: Sequence[Region], atlas_from_patient: Matrix) -> list[Finding]:
    """Measure each lesion that has a voxel in ``labels`` [k, j, i] on ``grid``, in the order of the labels.

    ``regions`` gives the score of each label; ``atlas_from_patient`` (4, 4) maps patient LPS to MNI152 LPS mm.
    """
    scores = {region.label: region.score for region in regions}
    present = [int(label) for label in np.unique(labels[labels > 0])]
    return [_finding(label, labels == label, grid, scores.get(label, 0.0), atlas_from_patient) for label in present]


def _finding(label: int, mask: Mask, grid: Grid, score: float, atlas_from_patient: Matrix) -> Finding:
    where = np.argwhere(mask)
    first, last = where.min(axis=0), where.max(axis=0)
    small = mask[tuple(slice(start, end + 1) for start, end in zip(first, last, strict=True))]
    atlas_lps = grid.to_lps(where) @ atlas_from_patient[:3, :3].T + atlas_from_patient[:3, 3]
    long_axis_mm, short_axis_mm = axes_mm(small, grid)
    return Finding(
        label=label,
        mask=mask,
        grid=grid,
        score=score,
        volume_mm3=len(where) * grid.voxel_mm3,
        diameter_mm=diameter_mm(small, grid),
        long_axis_mm=long_axis_mm,
        short_axis_mm=short_axis_mm,
        laterality=_laterality(atlas_lps),
        site=site_of(atlas_lps),
    )


def diameter_mm(mask: Mask, grid: Grid) -> float:
    """Give the greatest distance between two points of the lesion's surface (IBSI L0JK)."""
    return _farthest(_surface(mask) @ grid.affine_lps[:3, :3].T)


def axes_mm(mask: Mask, grid: Grid) -> tuple[float, float]:
    """Give the long axis and the longest line across it, as RECIST draws them, in the slice with the largest area."""
    largest = int(mask.sum(axis=(1, 2)).argmax())
    pixel_mm = grid.spacing_mm[1:]
    outline = _surface(mask[largest]) * pixel_mm
    ends = _corners(outline)
    first, second = np.unravel_index(_distances(ends).argmax(), (len(ends), len(ends)))
    long_axis_mm = float(np.linalg.norm(ends[second] - ends[first]))
    along = (ends[second] - ends[first]) / long_axis_mm
    across = outline @ [-along[1], along[0]]
    # points of the outline that lie opposite each other are at most half a pixel apart along the long axis
    places = np.rint((outline - ends[first]) @ along / max(pixel_mm)).astype(int)
    return long_axis_mm, max(float(np.ptp(across[places == place])) for place in np.unique(places))


def _surface(mask: Mask) -> Matrix:
    """Find the points (n, axes), in voxels, where a mesh at half height cuts the steps between inside and outside."""
    padded = np.pad(mask, 1)
    points = []
    for axis in range(mask.ndim):
        edge = np.argwhere(np.diff(padded.astype(np.int8), axis=axis)) - 1.0
        edge[:, axis] += 0.5
        points.append(edge)
    return np.concatenate(points)


def _farthest(points: Matrix) -> float:
    return float(pdist(_corners(points)).max())


def _distances(points: Matrix) -> Matrix:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))


def _corners(points: Matrix) -> Matrix:
    """Keep the points that can be an end of a diameter: those of the convex hull."""
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return points


def _laterality(atlas_lps: Matrix) -> Literal["left", "right", "midline"]:
    """Tell the side from MNI152, whose mid-sagittal plane is x = 0; LPS x grows to the patient's left."""
    left = float((atlas_lps[:, 0] > 0).mean())
    if left >= ON_ONE_SIDE:
        return "left"
    return "right" if left <= 1 - ON_ONE_SIDE else "midline"
