"""Adaptive-Diagnoser: a 3-D backbone on the whole brain, Masked Channel Attention, Global-Tumor Semantic Fusion.

Paper: Virtual Biopsy for Intracranial Tumors Diagnosis on MRI (arXiv 2602.21613), Fig. 4, equations (7) to (9).
Input: image (b, 1, 80, 96, 80), z-scores of the brain at 2 mm, k -> superior, j -> posterior, i -> left; lesion mask
alike, 0 to 1.
Output: logits (b, classes) and the fused vector they are read from, (b, 96) with the narrow ResNet.
Weights: ``diagnoser.safetensors``.
"""

from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vb_node.models.architecture import Architecture
from vb_node.models.backbones import build
from vb_node.models.mca import MaskedChannelAttention
from vb_node.models.pins import DIAGNOSER
from vb_node.models.radiomics import Radiomics
from vb_node.models.weights import Weights
from vb_node.types import Floats, Grid, Prior, StandardVolume

NETWORK_SHAPE = (80, 96, 80)
NETWORK_MM = 2.0
WEIGHTS = DIAGNOSER
# The network's tensors in a weights file; others are the guard's.
PREFIX = "network."

Fusion = Literal["mca", "gap"]


def network_input(standard: StandardVolume, prior: Prior) -> tuple[Tensor, Tensor]:
    """Cut the box about the brain's middle from image and lesion mask and average both to 2 mm.

    Returns
    -------
    image, lesion
        (1, 1, 80, 96, 80) each; lesion is the share of each cell that the accepted regions fill.
    """
    pool, first = _box(standard)
    fields = (standard.voxels, (prior.labels > 0).astype(np.float32))
    # (1, 1, 80 pool, 96 pool, 80 pool) -> (1, 1, 80, 96, 80)
    size = tuple(n * pool for n in NETWORK_SHAPE)
    boxes = (torch.from_numpy(_cut(field, first, size))[None, None] for field in fields)
    image, lesion = (functional.avg_pool3d(box, pool) for box in boxes)
    return image.clamp(-5, 5), lesion


def with_mirror(field: Tensor) -> Tensor:
    """Put the mirror images behind the heads: (b, ...) -> (2 b, ...). A pair also takes torch's faster convolution."""
    return torch.cat([field, field.flip(-1)])


def network_grid(standard: StandardVolume) -> Grid:
    """Give where the cells of ``network_input`` stand in the patient."""
    pool, first = _box(standard)
    affine = standard.grid.affine_lps.copy()
    affine[:3, 3] = standard.grid.to_lps(np.array([first]) + (pool - 1) / 2)[0]
    affine[:3, :3] *= pool
    return Grid(NETWORK_SHAPE, affine, standard.grid.frame_of_reference_uid)


def _box(standard: StandardVolume) -> tuple[int, list[int]]:
    """Give how many voxels a cell has along an axis, and the first voxel of the box about the brain's middle."""
    pool = max(1, round(NETWORK_MM / standard.grid.spacing_mm[0]))
    occupied = [np.flatnonzero(standard.brain.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return pool, [int(at[0] + at[-1]) // 2 - n * pool // 2 for at, n in zip(occupied, NETWORK_SHAPE, strict=True)]


def _cut(field: Floats, first: list[int], size: tuple[int, ...]) -> Floats:
    """Cut a box from a voxel on; what lies outside the field is 0."""
    box = np.zeros(size, dtype=np.float32)
    extents = list(zip(first, size, field.shape, strict=True))
    into = tuple(slice(max(-f, 0), max(min(n, limit - f), 0)) for f, n, limit in extents)
    out_of = tuple(slice(max(f, 0), max(min(f + n, limit), 0)) for f, n, limit in extents)
    box[into] = field[out_of]
    return box


class DiagnoserNetwork(nn.Module):
    """Classify a brain by its whole and by its lesion.

    MCA stands at strides 4 and 8 (cells of 8 and 16 mm); the heads' logits are added. ``fusion`` "gap" ignores the
    mask: it is the baseline that MCA is measured against.
    """

    def __init__(
        self,
        classes: int,
        architecture: Architecture | None = None,
        fusion: Fusion = "mca",
    ) -> None:
        super().__init__()
        self.architecture, self.fusion = architecture or Architecture(), fusion
        self.stem, self.stage_fine, self.stage_coarse, (fine, coarse) = build(self.architecture.backbone)
        pool = self.architecture.tumor_pool
        self.attend_fine = MaskedChannelAttention(fine, tumor_pool=pool)
        self.attend_coarse = MaskedChannelAttention(coarse, tumor_pool=pool)
        self.drop = nn.Dropout(0.2)
        self.head_fine = nn.Linear(2 * fine, classes)
        self.head_coarse = nn.Linear(2 * coarse, classes)
        self.radiomics = Radiomics(classes)

    @classmethod
    def of(cls, weights: Weights, fusion: Fusion = "mca") -> Self:
        """Build the network of opened weights."""
        network = cls(len(weights.metadata["classes"]), Architecture.of(weights.metadata), fusion)
        own = {name.removeprefix(PREFIX): one for name, one in weights.tensors.items() if name.startswith(PREFIX)}
        # weights of before there were radiomics: theirs say nothing
        own = {f"radiomics.{name}": one for name, one in network.radiomics.state_dict().items()} | own
        network.load_state_dict(own)
        return network

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(self.features(image), mask)

    def answer(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and fused vector in the mean over a head and its mirror image: a class knows no side.

        What the lesion's radiomics say is added to the logits, where there is a mask to read.
        """
        # (2 b, classes), (2 b, n) -> (b, classes), (b, n)
        logits, fused = (out.unflatten(0, (2, -1)).mean(dim=0) for out in self(with_mirror(image), with_mirror(mask)))
        if self.fusion != "mca":
            return logits, fused
        with torch.autocast(image.device.type, enabled=False):  # figures of a lesion, not convolutions
            return logits.float() + self.radiomics(image, mask), fused

    def features(self, image: Tensor) -> Tensor:
        """Give the finer feature map."""
        # (b, 1, 80, 96, 80) -> (b, 16, 20, 24, 20) with the narrow ResNet
        fine: Tensor = self.stage_fine(self.stem(image))
        return fine

    def read(self, fine: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and fused vector from the finer feature map."""
        # (b, 16, 20, 24, 20) -> (b, 32, 10, 12, 10)
        coarse = self.stage_coarse(fine)
        # (b, 32), (b, 64)
        fused_fine = self._fuse(fine, mask, self.attend_fine)
        fused_coarse = self._fuse(coarse, mask, self.attend_coarse)
        # (b, classes)
        logits = self.head_fine(self.drop(fused_fine)) + self.head_coarse(self.drop(fused_coarse))
        return logits, torch.cat([fused_fine, fused_coarse], dim=1)

    def _fuse(self, features: Tensor, mask: Tensor, attend: MaskedChannelAttention) -> Tensor:
        """Join the whole brain's vector and the tumour's (equation 9)."""
        # (b, c)
        whole = features.mean(dim=(2, 3, 4))
        tumour = attend(features, mask) if self.fusion == "mca" else torch.zeros_like(whole)
        # (b, 2 c)
        return torch.cat([whole, tumour], dim=1)
