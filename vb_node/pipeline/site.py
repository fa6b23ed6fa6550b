"""Where in the brain: the site that holds most of a lesion, by the nearest centres of named regions of MNI152.

The centres are in site.json, with their sources: the regions of two published parcellations, Brainnetome and AAL, and
places read off the template where neither has a region, as in the brain stem and the corpus callosum.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vb_node.types import Matrix

NOWHERE = "brain"
# A deep structure ends about so far from its centres: the white matter beyond belongs to the lobe around it.
DEEP_MM = 14.0
# No lobe is claimed farther away than this: one voxel in ten thousand of MNI152's brain is then nowhere.
FAR_MM = 25.0
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def site_of(places_atlas_lps: Matrix) -> str:
    """Name the site of most of the places (n, 3) in MNI152 LPS mm, "brain" where none is near: for orientation."""
    deep_mm, deep_sites = _nearest("deep", places_atlas_lps, DEEP_MM)
    lobe_mm, lobe_sites = _nearest("lobes", places_atlas_lps, FAR_MM)
    sites, held = np.unique(np.where(deep_mm < lobe_mm, deep_sites, lobe_sites), return_counts=True)
    return str(sites[held.argmax()])


def _nearest(kind: str, places_atlas_lps: Matrix, reach_mm: float) -> tuple[Matrix, NDArray[np.str_]]:
    """Give the distance in mm (n,) to the nearest centre and its site (n,): infinity and "brain" beyond the reach."""
    tree, sites = _centres(kind)
    distance_mm, index = tree.query(places_atlas_lps, distance_upper_bound=reach_mm)
    return distance_mm, sites[index]


@cache
def _centres(kind: str) -> tuple[cKDTree, NDArray[np.str_]]:
    regions = json.loads(Path(__file__).with_name("site.json").read_text())[kind]
    centres = [(point, region["site"]) for region in regions for point in region["points_ras_mm"]]
    # where nothing is within reach, the tree answers with the index past its last point
    return cKDTree([point for point, _ in centres] * RAS_TO_LPS), np.array([site for _, site in centres] + [NOWHERE])
