"""The `network` slice detector: a small 3-D network, trained on generated heads, says where a lesion may be.

Its map is cut at falling levels; what each level adds is boxed slice by slice. docs/virtual-biopsy-localizer.md has the
training and the figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from vb_node.models.device import asking, lay, settle
from vb_node.models.lesion_network import (
    CHANNELS,
    NETWORK_MM,
    PATCH,
    STRIDE,
    WEIGHTS,
    atlas_positions,
    averaged,
    build,
    cells,
    stack_fields,
)
from vb_node.models.pins import MODEL, MODELS
from vb_node.models.weights import Weights, open_weights
from vb_node.pipeline.crop import Where, bounding_box
from vb_node.pipeline.prior import Box
from vb_node.pipeline.symmetry import reflect
from vb_node.types import Floats, Mask, StandardVolume


@dataclass(frozen=True)
class NetworkSettings:
    """Levels fall: each adds what holds nothing that was found above it. ``smallest_ml`` is a ball of 4 mm."""

    levels: tuple[float, ...] = (0.5, 0.2, 0.07, 0.02)
    smallest_ml: float = 0.04
    candidates: int = 24


@dataclass(frozen=True, eq=False)
class Spot:
    """One connected piece of the map: its mask in a box of the map, and its score."""

    where: Where
    mask: Mask
    score: float


class NetworkDetector:
    """Find lesions with the network; a box from one half on is a claim."""

    claim_score = 0.5
    knows_dark = True

    def __init__(self, network: nn.Module, device: str = "cpu", *, is_synthetic: bool = True) -> None:
        self.network, self.device, self.is_synthetic = settle(network, device), device, is_synthetic
        self.settings = NetworkSettings()

    @classmethod
    def load(cls, device: str = "cpu", folder: Path | None = None) -> Self:
        """Open the pinned weights that are shipped, or those of an imported bundle.

        Raises
        ------
        ConfigError
            The weights are not the pinned ones.
        """
        opened = open_weights(WEIGHTS) if folder is None else open_weights(MODEL, folder / MODELS)
        return cls.of(opened, device)

    @classmethod
    def of(cls, weights: Weights, device: str = "cpu") -> Self:
        """Build the network from opened weights; raise ``RuntimeError`` where they do not fit it."""
        network = build()
        network.load_state_dict(weights.tensors)
        return cls(network, device, is_synthetic=bool(weights.metadata.get("is_trained_on_synthetic_data", True)))

    def rehearse(self) -> None:
        """Run once on an empty patch: libraries choose their kernels at the first run."""
        with asking(self.device):
            self.network(lay(torch.zeros(1, CHANNELS, *PATCH), self.device))

    def detect(self, standard: StandardVolume) -> list[Box]:
        step = max(1, round(NETWORK_MM / standard.grid.spacing_mm[0]))
        where = _whole_cells(bounding_box(standard.brain, margin=step), step)
        probability = self.probability(standard, where, step)
        first = [s.start for s in where]
        return [box for spot in find_spots(probability, self.settings) for box in _boxes(spot, first, step)]

    def probability(self, standard: StandardVolume, where: Where, step: int) -> Floats:
        """Ask the network about a box of the volume; the map has cells of ``step`` voxels, 0 outside the brain."""
        fields = torch.from_numpy(network_input(standard, where, step))[None]
        k, j, i = fields.shape[2:]
        padded = functional.pad(fields, (0, -i % STRIDE, 0, -j % STRIDE, 0, -k % STRIDE))
        with asking(self.device):
            logits = self.network(lay(padded, self.device)).float()
            probability = torch.sigmoid(logits)[0, 0, :k, :j, :i].cpu().numpy()
        return np.where(averaged(standard.brain[where].astype(np.float32), step) >= 0.5, probability, 0)


def network_input(standard: StandardVolume, where: Where, step: int) -> Floats:
    """Average a box of the volume to the network's grid and give its fields (5, k, j, i)."""
    voxels = averaged(standard.voxels[where], step)
    affine = cells(standard.atlas_from_patient @ standard.grid.affine_lps, [s.start for s in where], step)
    k, j, i = voxels.shape
    return stack_fields(voxels, reflect(voxels, affine), atlas_positions((k, j, i), affine))


def _whole_cells(where: Where, step: int) -> Where:
    """Cut a box to a whole number of cells."""
    k, j, i = (slice(s.start, s.start + (s.stop - s.start) // step * step) for s in where)
    return k, j, i


def find_spots(probability: Floats, settings: NetworkSettings) -> list[Spot]:
    """Cut the map at each level and keep what holds no spot of a higher level; best first."""
    smallest = settings.smallest_ml * 1000 / NETWORK_MM**3
    taken = np.zeros(probability.shape, dtype=np.bool_)
    spots: list[Spot] = []
    for level in settings.levels:
        labels, _ = ndimage.label(probability > level)
        for label, (k, j, i) in enumerate(ndimage.find_objects(labels), start=1):
            mask = labels[k, j, i] == label
            if mask.sum() >= smallest and not taken[k, j, i][mask].any():
                taken[k, j, i] |= mask
                spots.append(Spot((k, j, i), mask, float(np.percentile(probability[k, j, i][mask], 90))))
    return sorted(spots, key=lambda spot: spot.score, reverse=True)[: settings.candidates]


def _boxes(spot: Spot, first: list[int], step: int) -> Iterator[Box]:
    """Box a spot's cross-sections on every slice of the volume."""
    k0, j0, i0 = (inner.start * step + outer for inner, outer in zip(spot.where, first, strict=True))
    for k, section in enumerate(spot.mask):
        if not section.any():
            continue
        rows, columns = (np.flatnonzero(section.any(axis=axis)) * step for axis in (1, 0))
        j, i = (int(rows[0]), int(rows[-1]) + step), (int(columns[0]), int(columns[-1]) + step)
        for fine in range(step):
            yield Box(k0 + step * k + fine, j0 + j[0], j0 + j[1], i0 + i[0], i0 + i[1], spot.score)
