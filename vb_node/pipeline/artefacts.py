"""What spoils an image, in figures that do not depend on the scanner's units: ghosts, noise, no contrast agent.

Motion while k-space is filled scatters the head's own signal along the phase-encoding axis, into the air beside it,
where nothing else shines (Mortamet et al., MRM 2009, doi:10.1002/mrm.21992).
"""

from functools import cache

import numpy as np
from scipy import ndimage

from vb_node.pipeline.atlas import PlacedAtlas, atlas, brain_depth_mm, place
from vb_node.pipeline.registration import Registration
from vb_node.pipeline.resample import bin_voxels
from vb_node.types import Floats, Grid, Mask, Matrix, Volume

_STEP_MM = 3
_HEAD = 0.2  # of the brain's brightness
_AWAY_MM = (8, 50)  # of the air that counts: beyond the blur of the head's edge, and where a ghost would fall
_SMOOTH_MM = 4.0  # wide enough to leave nothing of the scanner's noise
_LEAST_AIR_ML = 30.0
_LOWEST_MM = -40  # height in MNI152: face, neck and shoulders lie below, and what they throw into the air

_WHITE, _NEITHER = 0.8, 0.1  # atlas probability of what is surely white matter, and of what surely is no tissue
_DEEP_MM = 12
_LEAST_VOXELS = 500

# the superior sagittal sinus in MNI152 LPS mm: beside the midline, behind the vertex, above the confluence
_SINUS_ASIDE_MM, _SINUS_BEHIND_MM, _SINUS_OUTSIDE_MM = 6, 40, 7
_EMPTY = 0.02  # of white matter: set to one value by whoever took the skull away


def in_air(volume: Volume, registration: Registration) -> dict[str, float]:
    """Give ``ghosts``: how unevenly the air about the head shines, in units of the brain's brightness.

    Nothing where there is too little air, as when a scanner or a defacing tool has set it to one value.
    """
    ghosts = _ghosts(volume, registration)
    return {} if ghosts is None else {"ghosts": ghosts}


def in_tissue(standard: Volume, placed: PlacedAtlas, seen: Mask, registration: Registration) -> dict[str, float]:
    """Give ``contrast_to_noise`` and ``sinus_brightness`` of a volume at 1 mm without shading.

    By how many standard deviations of the noise white matter is brighter than fluid; and how bright the superior
    sagittal sinus is in units of white matter: contrast agent makes it the brighter. Nothing of what lies outside the
    field of view.
    """
    figures = {
        "contrast_to_noise": _contrast_to_noise(standard.voxels, placed, seen),
        "sinus_brightness": _sinus_brightness(standard, placed, seen, registration),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _ghosts(volume: Volume, registration: Registration) -> float | None:
    """From the 5th to the 95th percentile of the smoothed air."""
    coarse = bin_voxels(volume, _STEP_MM)
    voxels, step_mm = coarse.voxels, np.array(coarse.grid.spacing_mm)
    brain = place(registration.atlas_from_patient, coarse.grid).depth_mm > 5
    level = float(np.median(voxels[brain])) if brain.any() else 0.0
    head = ndimage.gaussian_filter(voxels, 3 / step_mm) > _HEAD * level
    if level <= 0 or not head.any():
        return None
    away_mm = ndimage.distance_transform_edt(~head, sampling=step_mm)
    emptied = ndimage.uniform_filter((voxels <= voxels.min() + 1e-3 * level).astype(np.float32), 3) > 0.3
    near = (away_mm > _AWAY_MM[0]) & (away_mm < _AWAY_MM[1])
    air = near & ~emptied & (_height_mm(registration, coarse.grid) > _LOWEST_MM)
    if np.count_nonzero(air) * coarse.grid.voxel_mm3 < 1000 * _LEAST_AIR_ML:
        return None
    weight = ndimage.gaussian_filter(air.astype(np.float32), _SMOOTH_MM / step_mm)
    shine = ndimage.gaussian_filter(np.where(air, voxels, 0), _SMOOTH_MM / step_mm)
    within = air & (weight > 0.5)
    if not within.any():
        return None
    low, high = np.percentile(shine[within] / weight[within], (5, 95))
    return float(high - low) / level


def _height_mm(registration: Registration, grid: Grid) -> Matrix:
    """Give the height of each voxel, mm of MNI152."""
    upwards = (registration.atlas_from_patient @ grid.affine_lps)[2]
    k, j, i = np.ogrid[tuple(slice(0, size) for size in grid.shape)]
    return np.asarray(upwards[0] * k + upwards[1] * j + upwards[2] * i + upwards[3])


def _contrast_to_noise(voxels: Floats, placed: PlacedAtlas, seen: Mask) -> float | None:
    """Take as noise what is left of white matter without its smooth part."""
    white = seen & (placed.white > _WHITE)
    deep = seen & (placed.depth_mm > _DEEP_MM) & (placed.white < _NEITHER) & (placed.grey < _NEITHER)
    inner = ndimage.binary_erosion(white, iterations=2)
    if min(np.count_nonzero(inner), np.count_nonzero(deep)) < _LEAST_VOXELS:
        return None
    smooth = ndimage.gaussian_filter(voxels, 1.0)
    rest = (voxels - smooth)[inner]
    noise = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    # the atlas's ventricles and cisterns lie partly on the patient's tissue: the darkest tenth is fluid
    fluid = float(np.percentile(smooth[deep], 10))
    return (float(np.median(smooth[white])) - fluid) / max(noise, 1e-6)


def _sinus_brightness(standard: Volume, placed: PlacedAtlas, seen: Mask, registration: Registration) -> float | None:
    """Take the brightest tenth of where the atlas has the sinus."""
    patient_from_atlas = np.linalg.inv(registration.atlas_from_patient)
    sinus_lps = _sinus_atlas_lps() @ patient_from_atlas[:3, :3].T + patient_from_atlas[:3, 3]
    index = standard.grid.to_index(sinus_lps).T
    sinus = ndimage.map_coordinates(standard.voxels, index, order=1)[ndimage.map_coordinates(seen, index, order=0)]
    white = standard.voxels[seen & (placed.white > _WHITE)]
    level = float(np.median(white)) if white.size else 0.0
    sinus = sinus[sinus > _EMPTY * level]
    return float(np.percentile(sinus, 90)) / level if level > 0 and sinus.size >= _LEAST_VOXELS else None


@cache
def _sinus_atlas_lps() -> Matrix:
    """List the points (n, 3) of the superior sagittal sinus, mm of MNI152."""
    grid, depth_mm = atlas(2).grid, brain_depth_mm()
    shell = np.argwhere((depth_mm > -_SINUS_OUTSIDE_MM) & (depth_mm < 0))
    lps = grid.to_lps(shell)
    return lps[(np.abs(lps[:, 0]) < _SINUS_ASIDE_MM) & (lps[:, 1] > _SINUS_BEHIND_MM) & (lps[:, 2] > 0)]
