"""Find the affine (12 dof) from a patient to MNI152.

The score is the correlation of local contrast inside the atlas brain and around it (the template has no skull; one is
drawn). A search over many starts finds the head wherever it lies in the field of view: a neck below it, tens of mm
off, turned by tens of degrees. The best starts are polished; Gauss-Newton steps with bounded residuals (a lesion has
no partner in the template) fit the affine, held to human proportions by a prior on stretch and shear, as SPM does
(Ashburner et al. 1997, doi:10.1006/nimg.1997.0290). Nothing is random, and threads change no figure.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from vb_node.pipeline import contrast
from vb_node.pipeline.resample import box_grid, field_of_view, to_grid
from vb_node.types import Floats, Grid, Mask, Matrix, Volume

BRAIN_CENTRE_LPS = np.array([0.0, 22.0, 9.5])
"""Centre of mass of the template's brain, MNI152 LPS mm; rotations turn about it."""

CLEAR_ANATOMY = 0.25
"""``Registration.anatomy`` of a found brain: heads have over 0.4, things in a shell under 0.15."""

_USUAL_SCALE = 0.93  # MNI152 is larger than most adults
_STRETCH_SD, _SHEAR_SD = 0.08, 0.04
_LEAST_SEEN = 0.2
_FAR_MM, _NEAR_MM = 6.0, 2.5
_SPARSE, _MEDIUM, _DENSE = (12, _FAR_MM), (8, _FAR_MM), (4, _NEAR_MM)  # points of the template: step, contrast
_SHIFTS_MM = np.array(list(product((-12, 0, 12), (-30, -15, 0, 15, 30), (-60, -45, -30, -15, 0, 15, 30))), np.float64)
_TURNS_DEGREES = tuple(product((-36, -24, -12, 0, 12, 24), (-15, 0, 15), (-15, 0, 15)))


@dataclass(frozen=True, eq=False)
class Registration:
    """``atlas_from_patient`` (4, 4) maps LPS to MNI152 LPS mm.

    ``likeness`` correlates local contrast over brain, skull and scalp; ``anatomy`` the fine structure deep in the
    brain, apart from what depth alone explains (both -1 to 1). ``coverage`` is the share of the atlas brain in the
    field of view.
    """

    atlas_from_patient: Matrix
    likeness: float
    anatomy: float
    coverage: float

    @property
    def rigid(self) -> Matrix:
        """The rotation nearest to the affine, with the brain's centre where the affine puts it."""
        rotation = _rotation(self.atlas_from_patient[:3, :3])
        centre = np.linalg.inv(self.atlas_from_patient) @ [*BRAIN_CENTRE_LPS, 1]
        rigid = np.eye(4)
        rigid[:3, :3] = rotation
        rigid[:3, 3] = BRAIN_CENTRE_LPS - rotation @ centre[:3]
        return rigid

    @property
    def stretches(self) -> Matrix:
        """How the patient is longer than MNI152 along the three principal directions, longest first."""
        return np.asarray(1 / np.linalg.svd(self.atlas_from_patient[:3, :3])[1][::-1])


def load_template() -> None:
    """Load the atlas and sample it as the first registration would, which takes seconds once."""
    for points in (_SPARSE, _MEDIUM, _DENSE):
        contrast.around_brain(*points, True)
    contrast.deep_points()
    contrast.brain_points()


def register(volume: Volume) -> Registration:
    """Fit the affine from a volume's patient coordinates to MNI152.

    The template is tried with a scalp drawn around it and, where that does not find the anatomy, bare: the skull may
    have been removed from the volume.
    """
    with ThreadPoolExecutor() as pool:
        coarse, fine = pool.map(lambda step_mm: to_grid(volume, box_grid(volume.grid, step_mm)), (4.0, 2.0))
        seen, seen_fine = (field_of_view(volume.grid, image.grid) for image in (coarse, fine))
        contrasts = (
            pool.submit(contrast.local_contrast, coarse, seen, _FAR_MM),
            pool.submit(contrast.local_contrast, fine, seen_fine, _NEAR_MM),
            pool.submit(contrast.detail, fine, seen_fine),
        )
        centre_lps = _head_centre(coarse, seen)
    grids = (coarse.grid, fine.grid, fine.grid)
    far, near, detail = (_Target(one.result(), grid) for one, grid in zip(contrasts, grids, strict=True))
    best = _register(far, near, detail, centre_lps, has_scalp=True)
    if best.anatomy >= CLEAR_ANATOMY:
        return best
    return max(best, _register(far, near, detail, centre_lps, has_scalp=False), key=lambda tried: tried.anatomy)


def _register(far: "_Target", near: "_Target", detail: "_Target", centre_lps: Matrix, has_scalp: bool) -> Registration:
    fitted = _search(far, centre_lps, has_scalp)
    fine = contrast.around_brain(*_DENSE, has_scalp)
    for target, points in ((far, contrast.around_brain(*_MEDIUM, has_scalp)), (near, fine)):
        fitted = _fit(target, points, fitted)
    return Registration(
        np.asarray(np.linalg.inv(fitted), dtype=np.float64),
        near.correlation(fitted, fine) / max(near.coverage(fitted, fine[0]), _LEAST_SEEN),
        _anatomy(detail, fitted),
        near.coverage(fitted, contrast.brain_points()),
    )


def _anatomy(detail: "_Target", patient_from_atlas: Matrix) -> float:
    """Correlate fine structure deep in the brain: ventricles, nuclei, grey and white matter.

    A ball in a shell also looks like the template at its rim; taking out the mean at each depth leaves nothing of that.
    """
    points_lps, template, depth_mm = contrast.deep_points()
    values = detail.read(patient_from_atlas, points_lps)
    inside = np.isfinite(values)
    if inside.mean() < _LEAST_SEEN:
        return 0.0
    layer = (depth_mm[inside] / 3).astype(int)
    ours, theirs = (_less_layers(part[inside], layer) for part in (np.clip(values, -0.4, 0.4), template))
    return float(ours @ theirs / max(float(np.sqrt((ours @ ours) * (theirs @ theirs))), 1e-9))


def _less_layers(values: Floats, layer: NDArray[np.int64]) -> Floats:
    """Subtract the mean of each layer."""
    mean = np.bincount(layer, values) / np.maximum(np.bincount(layer), 1)
    return np.asarray(values - mean[layer])


class _Target:
    """A patient's local contrast, read at atlas points through patient_from_atlas."""

    def __init__(self, voxels: Floats, grid: Grid) -> None:
        self._voxels = voxels
        self._index_from_lps = np.linalg.inv(grid.affine_lps)

    def read(self, patient_from_atlas: Matrix, points_lps: Matrix) -> Floats:
        """Interpolate; NaN outside the field of view."""
        return np.asarray(self._read_shifted(patient_from_atlas, points_lps, np.zeros((1, 3)))[0])

    def _read_shifted(self, patient_from_atlas: Matrix, points_lps: Matrix, shifts_lps: Matrix) -> Floats:
        """Interpolate the points (n, 3) at each of some shifts (m, 3) of the patient: (m, n)."""
        matrix = self._index_from_lps @ patient_from_atlas
        index = matrix[:3, :3] @ points_lps.T + matrix[:3, 3:]
        offsets = self._index_from_lps[:3, :3] @ shifts_lps.T
        index = index[:, None, :] + offsets[:, :, None]
        return np.asarray(ndimage.map_coordinates(self._voxels, index, order=1, cval=np.nan, prefilter=False))

    def slope(self, patient_from_atlas: Matrix, points_lps: Matrix, step_mm: float = 2.0) -> Matrix:
        """Differentiate along the patient's x, y, z (n, 3), per mm; 0 at the edge of the field of view."""
        slopes = []
        for direction in np.eye(3) * step_mm:
            ahead, behind = patient_from_atlas.copy(), patient_from_atlas.copy()
            ahead[:3, 3] += direction
            behind[:3, 3] -= direction
            slopes.append((self.read(ahead, points_lps) - self.read(behind, points_lps)) / (2 * step_mm))
        return np.nan_to_num(np.stack(slopes, axis=1))

    def coverage(self, patient_from_atlas: Matrix, points_lps: Matrix) -> float:
        """Give the share of points in the field of view."""
        return float(np.isfinite(self.read(patient_from_atlas, points_lps)).mean())

    def correlation(self, patient_from_atlas: Matrix, points: tuple[Matrix, Floats]) -> float:
        """Correlate with the template, times the share of points in the field of view."""
        return float(self.correlations(patient_from_atlas, points, np.zeros((1, 3)))[0])

    def correlations(self, patient_from_atlas: Matrix, points: tuple[Matrix, Floats], shifts_lps: Matrix) -> Matrix:
        """Do so at each of some shifts (m, 3) of the patient: (m)."""
        values, template = self._read_shifted(patient_from_atlas, points[0], shifts_lps), points[1].astype(np.float64)
        inside = np.isfinite(values)
        count = np.maximum(inside.sum(axis=1), 1)
        ours, seen = np.where(inside, values, 0).astype(np.float64), inside.astype(np.float64)
        our_mean, their_mean = ours.sum(axis=1) / count, seen @ template / count
        ours_squared = np.einsum("mn,mn->m", ours, ours) - count * our_mean**2
        theirs_squared = seen @ template**2 - count * their_mean**2
        scale = np.sqrt(np.maximum(ours_squared * theirs_squared, 0))
        share = inside.mean(axis=1)
        likeness = (ours @ template - count * our_mean * their_mean) / np.maximum(scale, 1e-9) * share
        return np.where(share < _LEAST_SEEN, 0.0, likeness)


def _search(target: _Target, centre_lps: Matrix, has_scalp: bool) -> Matrix:
    """Give patient_from_atlas of the best of many starts: turn, shift and three scales."""

    points = contrast.around_brain(*_SPARSE, has_scalp)

    def cost(parameters: Matrix) -> float:
        stretch = np.sum(((parameters[6:] - np.log(_USUAL_SCALE)) / _STRETCH_SD) ** 2)
        return -target.correlation(_matrix(parameters), points) + 0.005 * float(stretch)

    def likeness(turn: tuple[float, ...]) -> Matrix:
        return target.correlations(_matrix(np.array([*centre_lps, *turn, *scales])), points, _SHIFTS_MM)

    scales = np.log([_USUAL_SCALE] * 3)
    with ThreadPoolExecutor() as pool:
        likenesses = np.concatenate(list(pool.map(likeness, _TURNS_DEGREES)))
    starts = [np.array([*(centre_lps + shift), *turn, *scales]) for turn, shift in product(_TURNS_DEGREES, _SHIFTS_MM)]
    ranked = [starts[number] for number in np.argsort(-likenesses, kind="stable")]
    with ThreadPoolExecutor() as pool:
        polished = list(pool.map(partial(_polish, cost), _apart(ranked)))
    return _matrix(min(polished, key=cost))


def _matrix(parameters: Matrix) -> Matrix:
    """Unpack centre (mm), turn (degrees about x, y, z) and log scales into patient_from_atlas."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", parameters[3:6], degrees=True).as_matrix() * np.exp(parameters[6:])
    matrix[:3, 3] = parameters[:3] - matrix[:3, :3] @ BRAIN_CENTRE_LPS
    return matrix


def _apart(ranked: list[Matrix], count: int = 10) -> list[Matrix]:
    """Take the best starts that are not neighbours of a better one."""
    chosen: list[Matrix] = []
    for start in ranked:
        if all(np.abs((start - other)[:6]).max() > 14 for other in chosen):
            chosen.append(start)
        if len(chosen) == count:
            break
    return chosen


def _polish(cost: Callable[[Matrix], float], start: Matrix) -> Matrix:
    """Climb from one start."""
    simplex = np.vstack([start, start + np.diag([8, 8, 8, 8, 8, 8, 0.06, 0.06, 0.06])])
    options = {"initial_simplex": simplex, "maxfev": 350, "xatol": 0.3, "fatol": 1e-3}
    return np.asarray(optimize.minimize(cost, start, method="Nelder-Mead", options=options).x)


def _head_centre(volume: Volume, seen: Mask) -> Matrix:
    """Guess the brain's centre: in the middle of the foreground, 75 mm below its top."""
    step_mm = volume.grid.spacing_mm[0]
    foreground = ndimage.binary_opening(volume.voxels > volume.voxels[seen].mean() / 2)
    slices = np.flatnonzero(foreground.sum(axis=(1, 2)) * step_mm**2 > 2000)
    top = int(slices.max()) if slices.size else volume.grid.shape[0] - 1
    head = foreground[max(top - int(130 / step_mm), 0) :]
    middle = np.argwhere(head).mean(axis=0) if head.any() else np.array(volume.grid.shape) / 2
    top_lps = volume.grid.to_lps(np.array([top, middle[1], middle[2]]))
    return np.asarray(top_lps - [0, 0, 75])


def _fit(target: _Target, points: tuple[Matrix, Floats], patient_from_atlas: Matrix, steps: int = 20) -> Matrix:
    """Take Gauss-Newton steps on the 12 dof."""
    points_lps, template = points
    arms = np.column_stack([points_lps - BRAIN_CENTRE_LPS, np.ones(len(points_lps))])
    centre = np.eye(4)
    centre[:3, 3] = BRAIN_CENTRE_LPS
    moving = patient_from_atlas @ centre
    # neighbouring points say the same thing: one independent word each 8 mm
    independent = min((points_lps[:, 0].size ** -1) * 4000, 1.0)
    for _ in range(steps):
        current = moving @ np.linalg.inv(centre)
        values = target.read(current, points_lps)
        inside = np.isfinite(values)
        values = np.nan_to_num(values)
        if inside.mean() < _LEAST_SEEN:
            break
        # predict the template from the patient, not the reverse: its variance is fixed, nothing is won by shrinking
        gain, offset = np.polyfit(values[inside], template[inside], 1)
        residual = np.where(inside, template - gain * values - offset, 0)
        spread = 3.0 * np.median(np.abs(residual[inside])) + 1e-6
        weight = independent / (spread**2 + residual**2)
        slope = gain * target.slope(current, points_lps)
        jacobian = (slope[:, :, None] * arms[:, None, :]).reshape(len(arms), 12)
        normal = jacobian.T @ (jacobian * weight[:, None])
        push = jacobian.T @ (residual * weight)
        held, pull = _proportions(moving[:3, :3])
        step = np.linalg.solve(normal + held + 1e-6 * np.eye(12), push + pull).reshape(3, 4)
        moving[:3] += step
        if np.abs(arms[:, :3] @ step[:, :3].T + step[:, 3]).max() < 0.05:
            break
    return np.asarray(moving @ np.linalg.inv(centre))


def _proportions(linear: Matrix) -> tuple[Matrix, Matrix]:
    """Give the prior on stretch and shear as normal matrix (12, 12) and right-hand side (12)."""
    rotation = _rotation(linear)
    held, pull = np.zeros((12, 12)), np.zeros(12)
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        # d(symmetric part of R^T M)[a, b] / dM
        direction = np.zeros((3, 4))
        direction[:, b] += rotation[:, a] / 2
        direction[:, a] += rotation[:, b] / 2
        wanted = _USUAL_SCALE if a == b else 0.0
        miss = wanted - float((direction[:, :3] * linear).sum())
        precision = (_STRETCH_SD if a == b else _SHEAR_SD) ** -2
        held += precision * np.outer(direction.ravel(), direction.ravel())
        pull += precision * miss * direction.ravel()
    return held, pull


def _rotation(linear: Matrix) -> Matrix:
    """The rotation nearest to a linear map (polar decomposition)."""
    left, _, right = np.linalg.svd(linear)
    return np.asarray(left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right)
