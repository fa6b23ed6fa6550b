"""What every slice detector has in common: it looks at a standardised volume and gives boxes, slice by slice."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vb_node.pipeline.prior import Box
from vb_node.types import StandardVolume

# A lesion tapers towards its ends. One box over and over, a column half as long again as it is wide, is no lesion.
LEAST_SLICES, LONGER, ALIKE, STILL = 8, 1.5, 0.1, 0.25


class UnreadableAnswers(Exception):
    """Too much of what a detector's model answered could not be read: the localisation is unreliable."""


def is_one_answer(boxes: Sequence[Box]) -> bool:
    """Say whether boxes are one and the same on slice after slice, whatever the slices show.

    So answer vision-language models that learned the format and not the place (arXiv 2509.10683).
    """
    slices = {box.k for box in boxes}
    if len(slices) < LEAST_SLICES:
        return False
    sides = np.array([(box.j1 - box.j0, box.i1 - box.i0) for box in boxes], float)
    centres = np.array([(box.j0 + box.j1, box.i0 + box.i1) for box in boxes], float) / 2
    side = float(sides.mean())
    is_column = max(slices) - min(slices) + 1 >= LONGER * side
    return bool(is_column and sides.std(axis=0).max() <= ALIKE * side and centres.std(axis=0).max() <= STILL * side)


class SliceDetector(Protocol):
    """Find boxes on axial slices (block 1 of Tumor-Localizer).

    ``claim_score`` is the score from which a box is a claim, not a mere candidate: a detector that claims and is not
    borne out by the image makes the localisation unreliable. With ``knows_dark`` it was taught which dark places are
    lesions and which are not, so that what is dark may bear a claim out.
    """

    @property
    def claim_score(self) -> float: ...

    @property
    def knows_dark(self) -> bool: ...

    def detect(self, standard: StandardVolume) -> list[Box]:
        """Give the boxes of every slice, at most a few a slice, on the grid of ``standard``.

        Raises
        ------
        UnreadableAnswers
            They are not to be relied on.
        """
        ...
