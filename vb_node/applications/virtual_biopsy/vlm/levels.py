"""At which height of the head a slice stands, in words: where something is moves a model's attention more than what."""

import numpy as np

from vb_node.types import StandardVolume

# Heights in MNI152 mm from which a level begins; for orientation, from the template.
LEVELS = (
    (50.0, "vertex, above the ventricles"),
    (30.0, "centrum semiovale and upper lateral ventricles"),
    (14.0, "lateral ventricles, caudate nucleus and upper thalamus"),
    (-2.0, "basal ganglia and thalamus"),
    (-18.0, "midbrain and temporal lobes"),
    (-36.0, "pons, upper cerebellum and temporal lobes"),
    (-np.inf, "medulla and lower cerebellum"),
)


def level_of(standard: StandardVolume, k: int) -> str:
    """Name the level of a slice by the middle of its brain."""
    middle = standard.grid.to_lps(np.array([[k, *np.argwhere(standard.brain[k]).mean(axis=0)]]))
    height_mm = float(middle[0] @ standard.atlas_from_patient[2, :3] + standard.atlas_from_patient[2, 3])
    return next(name for begins, name in LEVELS if height_mm >= begins)
