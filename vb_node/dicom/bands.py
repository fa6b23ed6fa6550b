"""The probability map in the form that every viewer shows: three disjoint bands as a second BINARY Segmentation.

Only Parametric Maps (``parametric_map``) hold the values themselves, and few viewers show them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from vb_node.dicom import seg
from vb_node.dicom.provenance import Provenance
from vb_node.types import Floats, Labels, Series

ROLE = "BANDS"
SERIES_NUMBER = 9004
SERIES_DESCRIPTION = "AI tumour probability bands, not verified"
CONTENT_LABEL = "AI_TUMOUR_BANDS"
CONTENT_DESCRIPTION = "AI output for research: score not calibrated, not verified"
TITLE: Final = seg.Title(ROLE, SERIES_NUMBER, SERIES_DESCRIPTION, CONTENT_LABEL, CONTENT_DESCRIPTION)


@dataclass(frozen=True)
class Band:
    """Everything from ``lowest`` (0-1) up to the next band, its name in viewers and its colour (RGB)."""

    lowest: float
    name: str
    colour: tuple[int, int, int]


BANDS: Final = (
    Band(0.25, "AI tumour score 25-50 %, not calibrated", (255, 220, 0)),
    Band(0.5, "AI tumour score 50-75 %, not calibrated", (255, 140, 0)),
    Band(0.75, "AI tumour score 75 % and above, not calibrated", (230, 0, 0)),
)


def write_bands(series: Series, probability: Floats, provenance: Provenance) -> Dataset:
    """Write one segment for each band that has voxels of ``probability`` [k, j, i], 0-1, on ``series.grid``.

    Raises
    ------
    ValueError
        Nothing reaches the lowest band, another grid, or a source without a frame of reference.
    """
    banded = into_bands(probability)
    numbers = seg.segment_numbers(banded)
    if not numbers:
        raise ValueError(f"nothing reaches {BANDS[0].lowest:.0%}: such a map is written without bands")
    lookup = np.zeros(len(BANDS) + 1, np.uint8)
    lookup[list(numbers)] = list(numbers.values())
    shown = [BANDS[band - 1] for band in numbers]
    segments = [seg.Segment(band.name, provenance.tracking_uid_of(band.name), band.colour) for band in shown]
    return seg.build(series, lookup[banded], segments, TITLE, provenance)


def into_bands(probability: Floats) -> Labels:
    """Number the band of each voxel from 1; 0 is below all of them."""
    banded = np.zeros(probability.shape, np.uint8)
    for band in BANDS:
        banded += probability >= band.lowest
    return banded
