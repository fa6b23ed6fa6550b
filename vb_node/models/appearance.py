"""What a standardised brain looks like in plain figures: size, intensities, sharpness, symmetry, and anatomy at 8 mm.

Input: image (b, 1, 80, 96, 80), z-scores inside the brain, 0 outside. Output: (b, 42). Weights: the anatomy's tensors
are part of ``diagnoser.safetensors``.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

# From 2 mm to the 8 mm at which anatomies are compared.
_COARSE = 4
COMPONENTS = 16
# The median is left out: standardisation makes it 0.
_PERCENTILES = (0.01, 0.05, 0.25, 0.75, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The training brains' mean (n) and principal components (16, n) at 8 mm."""

    mean: Tensor
    components: Tensor

    @classmethod
    def fit(cls, image: Tensor) -> Self:
        """Find mean and components of brains (m, 1, d, h, w)."""
        # (m, n)
        coarse = _coarse(image)
        centred = coarse - coarse.mean(dim=0)
        # The components of few long vectors come from their small Gram matrix: (m, m) -> (m, 16)
        energy, weights = torch.linalg.eigh(centred @ centred.T)
        strongest = slice(max(0, len(energy) - COMPONENTS), None)
        components = (centred.T @ weights[:, strongest] / energy[strongest].clamp_min(1e-6).sqrt()).T
        return cls(coarse.mean(dim=0), components)

    def compare(self, image: Tensor) -> Tensor:
        """Give the place among the training brains and how much of a brain lies outside: (b, 1, d, h, w) -> (b, 18)."""
        coarse = _coarse(image)
        difference = coarse - self.mean
        # (b, 16)
        scores = difference @ self.components.T
        outside = difference - scores @ self.components
        size = torch.linalg.vector_norm(coarse, dim=1).clamp_min(1e-3)
        shares = [torch.linalg.vector_norm(part, dim=1) / size for part in (difference, outside)]
        return torch.cat([scores, torch.stack(shares, dim=1).clamp_min(1e-3).log()], dim=1)


def _coarse(image: Tensor) -> Tensor:
    # (b, 1, 80, 96, 80) -> (b, 9600)
    return functional.avg_pool3d(image, _COARSE).flatten(1)


def describe(image: Tensor, anatomy: Anatomy) -> Tensor:
    """Measure brains: (b, 1, d, h, w) -> (b, 42)."""
    plain = torch.stack([_describe_one(one) for one in image[:, 0]])
    return torch.cat([plain, anatomy.compare(image)], dim=1)


def _describe_one(brain: Tensor) -> Tensor:
    # (d, h, w) -> (24)
    inside = brain != 0
    # An image without a brain is described as one whose every value is 0.
    values = brain[inside] if bool(inside.any()) else torch.zeros(1)
    # Away from the outline, where every neighbour within two cells is brain too.
    deep = _smooth(inside.float(), 5) > 0.999
    return torch.cat(
        [
            torch.log(inside.sum() + 1.0)[None],
            torch.quantile(_thinned(values), torch.tensor(_PERCENTILES)),
            (values**3).mean()[None],
            (values**4).mean().clamp_min(1e-4).log()[None],
            _sharpness(brain, deep),
            _asymmetry(brain, inside),
        ]
    )


def _thinned(values: Tensor) -> Tensor:
    """Take every n-th value: quantiles need no more than some ten thousand."""
    return values[:: max(1, len(values) // 50_000)]


def _sharpness(brain: Tensor, deep: Tensor) -> Tensor:
    """Measure steps along each axis and what is finer than 6, 10 and 18 mm."""
    if not bool(deep.any()):
        return torch.zeros(13)
    steps = []
    for axis in range(3):
        step = (brain - brain.roll(1, dims=axis)).abs()[deep]
        steps += [step.mean(), step.std()]
    fine = []
    for width in (3, 5, 9):
        residue = (brain - _smooth(brain, width)).abs()[deep]
        fine += [residue.mean(), residue.median()]
    ratio = steps[0] / (steps[2] + steps[4] + 1e-6)
    # (13)
    return torch.stack([*steps, *fine, ratio]).clamp_min(1e-4).log()


def _smooth(brain: Tensor, width: int) -> Tensor:
    """Average along one axis after the other, which is much faster than all at once."""
    for kernel in ((width, 1, 1), (1, width, 1), (1, 1, width)):
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        brain = functional.avg_pool3d(brain[None], kernel, stride=1, padding=padding)[0]
    return brain


def _asymmetry(brain: Tensor, inside: Tensor) -> Tensor:
    """Compare left and right: intensities where both are brain, and outlines."""
    mirror, both = brain.flip(-1), inside & inside.flip(-1)
    difference = (brain - mirror).abs()[both]
    overlap = both.sum() / inside.sum().clamp_min(1)
    mean = difference.mean() if bool(both.any()) else torch.zeros(())
    # (2)
    return torch.stack([mean, overlap])
