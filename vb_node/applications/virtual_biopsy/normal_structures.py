"""Where normal structures take up contrast agent, or are fluid: coarse maps in atlas space, evidence and never a ban.

Places are read off MNI152 (LPS mm); each structure is a run of straight pieces with a radius. Anatomy: Osborn,
"Osborn's Brain", on dural sinuses, deep veins, choroid plexus and the structures without a blood-brain barrier.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vb_node.pipeline.atlas import atlas
from vb_node.types import Matrix

# (x, y, z) of the pieces' ends, radius; those off the midline are mirrored. Names are for the reader.
_COURSES: tuple[tuple[str, float, tuple[tuple[float, float, float], ...]], ...] = (
    ("superior sagittal sinus", 6, ((0, -62, 20), (0, -40, 58), (0, 0, 80), (0, 45, 80), (0, 80, 52), (0, 98, 5))),
    ("torcula and transverse sinus", 7, ((0, 98, -8), (22, 94, -14), (42, 80, -22), (58, 58, -26))),
    ("sigmoid sinus and jugular bulb", 7, ((58, 58, -26), (54, 46, -36), (44, 42, -46), (32, 36, -54))),
    ("straight sinus", 4, ((0, 44, 6), (0, 68, -2), (0, 96, -8))),
    ("vein of Galen and internal cerebral veins", 3, ((0, 44, 6), (0, 38, 12), (3, 22, 16), (3, 2, 12))),
    ("choroid plexus of the bodies", 3, ((4, 2, 14), (10, 18, 20), (18, 32, 18))),
    ("choroid plexus of the atria", 5, ((18, 32, 18), (25, 42, 10), (28, 42, 0), (32, 30, -10), (30, 18, -18))),
    ("choroid plexus of the fourth ventricle", 4, ((0, 48, -36), (10, 46, -42))),
    ("pineal gland", 5, ((0, 31, 2), (0, 31, 0))),
    ("pituitary gland and stalk", 6, ((0, -2, -34), (0, 0, -24))),
    ("cavernous sinus", 7, ((10, -8, -34), (12, 10, -34))),
    ("internal carotid artery", 5, ((22, 14, -40), (14, -2, -30), (13, -4, -18))),
    ("middle cerebral artery", 4, ((13, -4, -18), (30, -4, -18), (42, -2, -10))),
    ("anterior cerebral artery", 3, ((13, -4, -18), (2, -14, -14), (2, -38, 4), (2, -22, 26))),
    ("basilar and vertebral arteries", 4, ((0, 14, -18), (0, 18, -34), (4, 22, -50), (10, 26, -66))),
    ("falx", 2, ((0, -60, 20), (0, -50, 45), (0, 0, 65), (0, 45, 65), (0, 75, 35), (0, 80, 10))),
)
_FALL_OFF_MM = 4.0


def normal_uptake(points_atlas_lps: Matrix) -> NDArray[np.float64]:
    """Tell how well normal uptake explains points (n, 3) of the atlas by their place: 1 on a structure, 0 far away."""
    best = np.zeros(len(points_atlas_lps))
    for start, end, radius_mm in _PIECES:
        outside_mm = np.maximum(_distance_mm(points_atlas_lps, start, end) - radius_mm, 0)
        best = np.maximum(best, np.exp(-0.5 * (outside_mm / _FALL_OFF_MM) ** 2))
    return best


def normal_fluid(points_atlas_lps: Matrix) -> NDArray[np.float64]:
    """Tell how likely points (n, 3) of the atlas are fluid (0-1): what its 152 brains have of neither tissue there."""
    mni = atlas(2)
    from_lps = np.linalg.inv(mni.grid.affine_lps)
    index = points_atlas_lps @ from_lps[:3, :3].T + from_lps[:3, 3]
    tissue = ndimage.map_coordinates(mni.grey + mni.white, index.T, order=1)
    return np.asarray(np.clip(1 - tissue, 0, 1), dtype=np.float64)


def _distance_mm(points: Matrix, start: Matrix, end: Matrix) -> NDArray[np.float64]:
    """Measure the distance of points (n, 3) from a straight piece."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0, 1)
    return np.asarray(np.linalg.norm(points - start - share[:, None] * along, axis=1))


def _both_sides() -> list[tuple[Matrix, Matrix, float]]:
    pieces = []
    for _, radius_mm, course in _COURSES:
        for side in (1.0, -1.0):
            ends = np.array(course, dtype=np.float64) * (side, 1, 1)
            pieces += [(start, end, float(radius_mm)) for start, end in zip(ends, ends[1:], strict=False)]
    return pieces


_PIECES = _both_sides()
