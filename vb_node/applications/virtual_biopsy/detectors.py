"""What every slice detector has in common: it looks at a standardised volume and gives boxes, slice by slice."""

from typing import Protocol

from vb_node.pipeline.prior import Box
from vb_node.types import StandardVolume


class UnreadableAnswers(Exception):
    """Too much of what a detector's model answered could not be read: the localisation is unreliable."""


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
