"""How far two segmentations of one series agree."""

from dataclasses import dataclass

import numpy as np

from vb_node.types import Grid, Labels


@dataclass(frozen=True)
class Agreement:
    """``dice`` is that of all lesions together, 0-1; ``centres_mm`` lies between their centres of mass.

    Each is None where it says nothing: neither, or for the centres one of the two, has a lesion.
    """

    dice: float | None
    centres_mm: float | None


def agreement(one: Labels, other: Labels, grid: Grid) -> Agreement:
    """Compare two label maps [k, j, i] on ``grid``."""
    # late: half a second, which each start of a worker would wait for
    from scipy.ndimage import center_of_mass
    from scipy.spatial.distance import dice

    masks = one > 0, other > 0
    has_lesion = [bool(mask.any()) for mask in masks]
    if not any(has_lesion):
        return Agreement(None, None)
    if not all(has_lesion):
        return Agreement(0.0, None)
    first, second = grid.to_lps(np.array([center_of_mass(mask) for mask in masks]))
    return Agreement(1.0 - float(dice(masks[0].ravel(), masks[1].ravel())), float(np.linalg.norm(first - second)))
