"""ConvNeXt in three dimensions, its first two stages: a backbone for Adaptive-Diagnoser.

Paper: A ConvNet for the 2020s (Liu et al., CVPR 2022, arXiv 2201.03545), with cubes for its squares. Its third and
fourth stage, strides 16 and 32, would see no small lesion and are not there.
Input: (b, 1, d, h, w), sides multiples of 8. Output: (b, 32, d/4, h/4, w/4), then (b, 64, d/8, h/8, w/8).
Weights: part of ``diagnoser.safetensors`` of a training that chose it; none are shipped.
"""

import torch
from torch import Tensor, nn

WIDTHS, DEPTHS = (32, 64), (3, 3)
# The paper begins at 1e-6, for ImageNet's many steps; of few cases' steps a block would hardly wake up.
LAYER_SCALE = 0.1


class ChannelNorm(nn.Module):
    """Normalise each place over its channels: LayerNorm for channels first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        # (b, c, d, h, w) -> (b, d, h, w, c) and back
        normed: Tensor = self.norm(features.movedim(1, -1)).movedim(-1, 1)
        return normed


class Block(nn.Module):
    """Depthwise 7 x 7 x 7, then a perceptron four times as wide at each place; added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv3d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        # (b, c, d, h, w) -> (b, d, h, w, c) and back
        places = self.norm(self.depthwise(features).movedim(1, -1))
        added: Tensor = (self.scale * self.perceptron(places)).movedim(-1, 1)
        return features + added


def stem() -> nn.Sequential:
    """Build the patches: stride 4."""
    return nn.Sequential(nn.Conv3d(1, WIDTHS[0], 4, stride=4), ChannelNorm(WIDTHS[0]))


def fine() -> nn.Sequential:
    """Build the first stage, stride 4."""
    return nn.Sequential(*(Block(WIDTHS[0]) for _ in range(DEPTHS[0])))


def coarse() -> nn.Sequential:
    """Build the second stage, stride 8."""
    halve = nn.Conv3d(*WIDTHS, 2, stride=2)
    return nn.Sequential(ChannelNorm(WIDTHS[0]), halve, *(Block(WIDTHS[1]) for _ in range(DEPTHS[1])))
