"""Viewer profiles: which SOP classes a destination is not sent, since its viewers show something else instead.

A profile leaves out and never lists what may go: an object that another application writes always goes.
"""

from collections.abc import Iterable
from typing import Final

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

STANDARD: Final = "standard"
PROFILES: Final[dict[str, frozenset[UID]]] = {
    # OHIF, Weasis and most archives: SEG, SR, key image
    STANDARD: frozenset({ParametricMapStorage, EncapsulatedPDFStorage}),
    # OHIF from 3.9: the exact map too
    "heat-map": frozenset({EncapsulatedPDFStorage}),
    # places that file a PDF where others file a key image
    "pdf": frozenset({ParametricMapStorage, SecondaryCaptureImageStorage}),
    # 3D Slicer and programs: nothing that is only a picture
    "objects": frozenset({ParametricMapStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage}),
    # an old PACS that shows neither SEG nor SR
    "key-images": frozenset(
        {SegmentationStorage, Comprehensive3DSRStorage, ParametricMapStorage, EncapsulatedPDFStorage}
    ),
    "everything": frozenset(),
}


def left_out(profiles: Iterable[str]) -> frozenset[UID]:
    """Give the SOP classes that none of some profiles takes; with no profile, those of the standard one."""
    chosen = [PROFILES[profile] for profile in profiles]
    return frozenset.intersection(*chosen) if chosen else PROFILES[STANDARD]
