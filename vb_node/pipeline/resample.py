"""Carry voxels and masks from one grid to another.

Images go by linear or cubic B-spline interpolation, masks as soft masks (0-1) that are cut at one half afterwards: a
nearest-neighbour mask loses whole lesions on a coarser grid. Where the target is coarser than the source the source is
smoothed first, so that the volume of a small structure is kept.
"""

from typing import Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from vb_node.types import Floats, Grid, Mask, Matrix, Volume

Interpolation = Literal["linear", "bspline"]
_INTERPOLATORS = {"linear": SimpleITK.sitkLinear, "bspline": SimpleITK.sitkBSpline}
_XYZ = np.eye(4)[[2, 1, 0, 3]]  # SimpleITK counts i, j, k


def to_grid(volume: Volume, grid: Grid, interpolation: Interpolation = "linear", smooth: bool = True) -> Volume:
    """Resample a volume; 0 outside its field of view.

    ``smooth`` averages over the target's voxel where that is larger than the source's.
    """
    index_map = np.linalg.inv(volume.grid.affine_lps) @ grid.affine_lps
    voxels = _average(volume.voxels, index_map) if smooth else volume.voxels
    return Volume(_pull(voxels, index_map, grid.shape, interpolation), grid)


def bin_voxels(volume: Volume, step_mm: float) -> Volume:
    """Average whole voxels along the axes on which two or more fit into a step; as it is where none do.

    Scanners interpolate (ZIP 512): voxels of half a millimetre hold what those of one do, and cost the more. What fills
    no whole step at the end of an axis is left out.
    """
    counts = [max(int(1.01 * step_mm / spacing_mm), 1) for spacing_mm in volume.grid.spacing_mm]
    if max(counts) == 1:
        return volume
    image = SimpleITK.BinShrink(SimpleITK.GetImageFromArray(volume.voxels), counts[::-1])
    voxels = SimpleITK.GetArrayFromImage(image)
    affine = volume.grid.affine_lps.copy()
    affine[:3, 3] = volume.grid.to_lps((np.array([counts]) - 1) / 2)[0]
    affine[:3, :3] *= counts
    return Volume(voxels, Grid(voxels.shape, affine, volume.grid.frame_of_reference_uid))


def soft_mask(mask: NDArray[np.generic], source: Grid, target: Grid) -> Floats:
    """Carry a mask or soft mask to another grid as the share (0-1) of each voxel that it fills."""
    soft = to_grid(Volume(np.asarray(mask, dtype=np.float32), source), target)
    return np.clip(soft.voxels, 0, 1, out=soft.voxels)


def mask_to_grid(mask: NDArray[np.generic], source: Grid, target: Grid) -> Mask:
    """Carry a mask to another grid: every voxel that it fills by half or more."""
    return np.asarray(soft_mask(mask, source, target) >= 0.5)


def field_of_view(source: Grid, target: Grid) -> Mask:
    """Mark the target's voxels whose centre lies inside the source's field of view."""
    inside = np.ones(target.shape, dtype=bool)
    index_map = np.linalg.inv(source.affine_lps) @ target.affine_lps
    axes = np.ogrid[tuple(slice(0, size) for size in target.shape)]
    for axis, size in enumerate(source.shape):
        index = sum(index_map[axis, column] * axes[column] for column in range(3)) + index_map[axis, 3]
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside


def box_grid(source: Grid, step_mm: float) -> Grid:
    """Lay an isotropic grid along superior, posterior, left around the whole field of view of another grid."""
    corners = np.stack(np.meshgrid(*[(-0.5, size - 0.5) for size in source.shape], indexing="ij"), -1).reshape(-1, 3)
    corners_lps = source.to_lps(corners)
    low, high = corners_lps.min(axis=0), corners_lps.max(axis=0)
    columns, rows, slices = np.maximum(np.ceil((high - low) / step_mm), 1).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, ::-1] * step_mm
    affine[:3, 3] = low + step_mm / 2
    return Grid((int(slices), int(rows), int(columns)), affine, source.frame_of_reference_uid)


def _average(voxels: Floats, index_map: Matrix) -> Floats:
    """Smooth along each source axis whose step is smaller than the target's."""
    # how far one target voxel reaches along each source axis, in source voxels
    reach = np.abs(index_map[:3, :3]).max(axis=1)
    # the Gaussian whose variance fills up that of the source's box (1/12) to that of the target's (reach^2/12)
    sigma = np.sqrt(np.maximum(reach**2 - 1, 0) / 12)
    for axis, width in enumerate(sigma):
        if width > 0:
            voxels = ndimage.gaussian_filter1d(voxels, float(width), axis=axis, mode="nearest")
    return voxels


def _pull(voxels: Floats, index_map: Matrix, shape: tuple[int, int, int], interpolation: Interpolation) -> Floats:
    """Read ``voxels`` at ``index_map @ index`` for each index of the target.

    SimpleITK images here have no geometry of their own: an index map can shear (a tilted gantry), a direction cannot.
    """
    index_map_xyz = _XYZ @ index_map @ _XYZ.T
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(index_map_xyz[:3, :3].ravel().tolist())
    transform.SetTranslation(index_map_xyz[:3, 3].tolist())
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetSize([int(size) for size in shape[::-1]])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(_INTERPOLATORS[interpolation])
    resampler.SetOutputPixelType(SimpleITK.sitkFloat32)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.float32))
    return np.asarray(SimpleITK.GetArrayFromImage(resampler.Execute(image)))


def labels_to_grid(labels: NDArray[np.uint8], source: Grid, target: Grid) -> NDArray[np.uint8]:
    """Carry a label map to another grid: each label keeps its volume, in the voxels that it fills most.

    A threshold of one half would take volume from whatever is round and small. A voxel that two labels touch is the
    one's that fills more of it; the other makes up for it nearby, as far as it has voxels.
    """
    fills = {label: _fill(labels == label, source, target) for label in range(1, int(labels.max(initial=0)) + 1)}
    owner, most = np.zeros(target.shape, np.uint8), np.zeros(target.shape, np.float32)
    for label, (places, shares) in fills.items():
        fills_more = shares > most.flat[places]
        owner.flat[places[fills_more]], most.flat[places[fills_more]] = label, shares[fills_more]
    carried = np.zeros(target.shape, np.uint8)
    for label, (places, shares) in fills.items():
        own = owner.flat[places] == label
        fullest = np.argsort(-shares[own], kind="stable")[: max(round(float(shares.sum(dtype=np.float64))), 1)]
        carried.flat[places[own][fullest]] = label
    return carried


def _fill(mask: Mask, source: Grid, target: Grid) -> tuple[NDArray[np.intp], Floats]:
    """List the target's voxels that a mask touches, by their flat index, and the share (0-1] of each that it fills."""
    share = soft_mask(mask, source, target).ravel()
    places = np.flatnonzero(share)
    return places, share[places]
