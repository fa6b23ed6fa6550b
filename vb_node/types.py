"""The nouns that pass from step to step.

Every array is indexed ``[k, j, i]``: slice, row, column. Every affine maps such an index, in that
order, to the patient's LPS coordinates in mm (PS3.3 C.7.6.2.1.1). A standardised volume differs from
its source only by its grid, which stands in the *same patient coordinates*, turned to the axes of
MNI152: so "the way back" is resampling from one grid to the other, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an array stand in the patient.

    ``shape`` is (slices, rows, columns); ``affine_lps`` (4, 4) maps (k, j, i, 1) to LPS mm.
    """

    shape: tuple[int, int, int]
    affine_lps: Matrix
    frame_of_reference_uid: str

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along k, j, i."""
        k, j, i = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_mm3(self) -> float:
        return abs(float(np.linalg.det(self.affine_lps[:3, :3])))

    def to_lps(self, index_kji: NDArray[Any]) -> Matrix:
        """Map indices (n, 3) to LPS mm (n, 3)."""
        return np.asarray(index_kji @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3])

    def to_index(self, point_lps: NDArray[Any]) -> Matrix:
        """Map LPS mm (n, 3) to fractional indices (n, 3)."""
        inverse = np.linalg.inv(self.affine_lps)
        return np.asarray(point_lps @ inverse[:3, :3].T + inverse[:3, 3])


@dataclass(frozen=True)
class Plane:
    """The frame behind one slice: an instance and, in a multi-frame object, its frame from 1."""

    sop_instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """A whole series that makes one volume: headers (no pixels), and the frame behind each slice.

    ``headers`` holds one pydicom ``Dataset`` an instance, in slice order; ``paths`` stands beside it;
    ``planes`` has one entry a slice of ``grid``.
    """

    headers: tuple[Any, ...]
    paths: tuple[Path, ...]
    planes: tuple[Plane, ...]
    grid: Grid

    @property
    def series_instance_uid(self) -> str:
        return str(self.headers[0].SeriesInstanceUID)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values (float32, after rescale) and where they stand."""

    voxels: Floats
    grid: Grid


@dataclass(frozen=True, eq=False)
class StandardVolume(Volume):
    """What MRI-Processor gives: z-scored inside ``brain``, 0 outside, 1 mm, along the axes of MNI152.

    Array axes run k -> superior, j -> posterior, i -> left, so ``voxels[k]`` is an axial slice in
    radiological display. ``atlas_from_patient`` (4, 4) is the affine (12 dof) from the patient's LPS to
    MNI152 LPS mm. ``quality`` holds named figures of the quality gate; ``flags`` what a reader should know.
    """

    brain: Mask
    atlas_from_patient: Matrix
    quality: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Region:
    """One candidate lesion, best first in ``Prior.regions``.

    ``score`` is 0-1 and not calibrated; ``centre_lps`` and ``centre_atlas_lps`` in mm; ``label`` is its value in
    ``Prior.labels``, 0 for a candidate that was not accepted.
    """

    label: int
    score: float
    volume_ml: float
    centre_lps: tuple[float, float, float]
    centre_atlas_lps: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Prior:
    """What Tumor-Localizer gives, on the grid of the standardised volume.

    ``probability`` (float32, 0-1) is the refined soft map; ``labels`` (uint8) numbers the accepted lesions from 1,
    best first; ``regions`` ranks every candidate. ``confidence`` is 0-1 and not calibrated. ``state`` is one of
    three results.
    """

    probability: Floats
    labels: Labels
    regions: tuple[Region, ...]
    confidence: float
    state: Literal["localised", "not localised", "unreliable"]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What Adaptive-Diagnoser gives: class probabilities that sum to 1, and whether they may be read as a class.

    ``probabilities`` is empty when nothing was localised. ``is_determined`` is False when the input is unlike the
    training data or no class stands out; ``reason`` then says which. ``novelty`` is the distance to the training
    data over its threshold (above 1: unlike). ``likely`` is the conformal set of a determined one, most probable
    first: in ``coverage`` of cases like those it was set on, the true class is among them. ``saliency`` of a determined
    one: how much each place counted for the most probable class, 0 to 1.
    """

    probabilities: Mapping[str, float]
    is_determined: bool
    reason: str
    novelty: float | None = None
    likely: tuple[str, ...] = ()
    coverage: float | None = None
    saliency: Volume | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """One lesion on the source grid, measured."""

    label: int
    mask: Mask
    grid: Grid
    score: float
    volume_mm3: float
    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    laterality: Literal["left", "right", "midline"]
    site: str
