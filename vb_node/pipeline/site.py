"""Where in the brain: the nearest of the regions that nilearn carries with their names.

Cortex and its lobes from Dosenbach et al. 2010 (doi:10.1126/science.1194144), deep grey matter and cerebellum from
Seitzman et al. 2020 (doi:10.1016/j.neuroimage.2019.116290). Neither has the brain stem; a box of MNI152 stands for it.
"""

from functools import cache

import numpy as np

from vb_node.types import Matrix

# Words of Dosenbach's labels, as nilearn gives them, in the order they are looked for.
LOBES = {
    "cerebellum": "cerebellum",
    "insula": "insula",
    "temporal": "temporal lobe",
    "fusiform": "temporal lobe",
    "occipital": "occipital lobe",
    "parietal": "parietal lobe",
    "precuneus": "parietal lobe",
    "post cingulate": "parietal lobe",
    "angular": "parietal lobe",
    "IPL": "parietal lobe",
    "IPS": "parietal lobe",
    "TPJ": "parietal lobe",
    "frontal": "frontal lobe",
    "FC": "frontal lobe",
    "ACC": "frontal lobe",
    "precentral": "frontal lobe",
    "SMA": "frontal lobe",
}
DEEP = {
    "basalGanglia": "corpus striatum",
    "thalamus": "thalamus",
    "hippocampus": "hippocampus",
    "amygdala": "amygdala",
    "cerebellum": "cerebellum",
}
# Where a lesion of the deep midline would else be given to the nearest lobe: places in MNI152, in LPS mm.
LANDMARKS = (
    ((0.0, 29.0, 3.0), "pineal gland"),
    ((0.0, -2.0, -22.0), "pituitary gland"),
    ((0.0, -2.0, -32.0), "pituitary gland"),
    ((0.0, -26.0, 6.0), "corpus callosum"),
    ((0.0, 5.0, 27.0), "corpus callosum"),
    ((0.0, 37.0, 14.0), "corpus callosum"),
    ((28.0, 22.0, -12.0), "hippocampus"),
    ((-28.0, 22.0, -12.0), "hippocampus"),
)
# Midbrain, pons and medulla in MNI152 LPS mm, between the temporal lobes and before the fourth ventricle.
BRAIN_STEM = ((-14.0, 14.0), (12.0, 40.0), (-60.0, -8.0))
# No region is claimed farther away than this; 97 % of the voxels of MNI152's brain have one nearer.
FAR_MM = 25.0
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def site_of(centre_atlas_lps: Matrix) -> str:
    """Name the region nearest to a point (3,) in MNI152 LPS mm, "brain" where none is near: coarse, for orientation."""
    if all(low <= value <= high for value, (low, high) in zip(centre_atlas_lps, BRAIN_STEM, strict=True)):
        return "brain stem"
    points, names = _regions()
    distance_mm = np.linalg.norm(points - centre_atlas_lps, axis=1)
    nearest = int(distance_mm.argmin())
    return names[nearest] if distance_mm[nearest] <= FAR_MM else "brain"


@cache
def _regions() -> tuple[Matrix, tuple[str, ...]]:
    # nilearn takes over a second to import, and only this function needs it
    from nilearn.datasets import fetch_coords_dosenbach_2010, fetch_coords_seitzman_2018

    cortex, deep = fetch_coords_dosenbach_2010(), fetch_coords_seitzman_2018()
    found = [(point, _lobe(str(label))) for point, label in zip(_points(cortex), cortex.labels, strict=True)]
    found += [(point, DEEP.get(region, "")) for point, region in zip(_points(deep), deep.regions, strict=True)]
    named = [(point * RAS_TO_LPS, name) for point, name in found if name]
    named += [(np.array(point), name) for point, name in LANDMARKS]
    return np.array([point for point, _ in named]), tuple(name for _, name in named)


def _points(bunch: object) -> Matrix:
    return np.asarray(bunch.rois[["x", "y", "z"]], dtype=np.float64)  # type: ignore[attr-defined]


def _lobe(label: str) -> str:
    return next((lobe for word, lobe in LOBES.items() if word in label), "")
