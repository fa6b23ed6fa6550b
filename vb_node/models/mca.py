"""Masked Channel Attention: let the lesion alone choose the channels.

Paper: Virtual Biopsy for Intracranial Tumors Diagnosis on MRI (arXiv 2602.21613), Fig. 4; the equations are our
reconstruction of its (7) and (8).
Input: features (b, c, d, h, w) and a lesion mask (b, 1, D, H, W) of any size, 0 to 1.
Output: a tumour vector (b, c).
Weights: part of ``diagnoser.safetensors``.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

TumorPool = Literal["global", "masked"]


def soft_mask(mask: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Bring a mask to a feature map's size as the share of each cell that is lesion.

    A nearest neighbour would lose every lesion smaller than a cell, which are the ones this is for.
    """
    return functional.adaptive_avg_pool3d(mask, size)


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Average features over the lesion; over the whole map where the mask is empty (equation 7)."""
    # (b, c, d, h, w), (b, 1, d, h, w) -> (b, c)
    inside = (features * mask).sum(dim=(2, 3, 4))
    # (b, 1)
    mass = mask.sum(dim=(2, 3, 4))
    return torch.where(mass > 0, inside / mass.clamp_min(1e-6), features.mean(dim=(2, 3, 4)))


class MaskedChannelAttention(nn.Module):
    """Gate channels by what the lesion shows, and pool the gated map.

    ``tumor_pool`` is "global" as in Fig. 4 or "masked": GAP(w F) = w GAP(F), so with "global" the lesion speaks through
    the gate only, and with "masked" also through what is pooled.
    """

    def __init__(self, channels: int, reduction: int = 4, tumor_pool: TumorPool = "masked") -> None:
        super().__init__()
        if tumor_pool not in get_args(TumorPool):
            raise ValueError(f"pooling {tumor_pool!r}: one of {', '.join(get_args(TumorPool))} expected")
        self.tumor_pool = tumor_pool
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        # (b, 1, D, H, W) -> (b, 1, d, h, w)
        share = soft_mask(mask, (features.shape[2], features.shape[3], features.shape[4]))
        # (b, c)
        lesion = masked_mean(features, share)
        # (b, c)
        weight: Tensor = self.gate(lesion)
        # (b, c): the mean of a map that is scaled per channel is the scaled mean.
        return weight * (lesion if self.tumor_pool == "masked" else features.mean(dim=(2, 3, 4)))
