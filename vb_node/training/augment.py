"""Random changes of training batches: mirrored heads, other contrast, and lesion masks with a localiser's errors."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from vb_node.training.dataset import Sample

# How often a batch's sample gets each fault of a localiser.
EMPTY, FALSE_REGION, SHIFTED = 0.08, 0.2, 0.5


def augment(image: Tensor, lesion: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Change a batch (b, 1, d, h, w) of images and masks."""
    image = image.clone()
    for one in range(len(image)):
        image[one] = _change_contrast(image[one], generator)
    lesion = torch.stack([spoil_lesion(one, generator) for one in lesion])
    if _chance(0.5, generator):
        image, lesion = image.flip(-1), lesion.flip(-1)
    return image, lesion


def _change_contrast(image: Tensor, generator: torch.Generator) -> Tensor:
    """Scale, bend and roughen the z-scores of one brain."""
    scale, bend, noise = torch.rand(3, generator=generator)
    changed = image * (0.9 + 0.2 * scale) + (bend - 0.5) * 0.06 * image * image.abs()
    changed = changed + 0.1 * noise * torch.randn(image.shape, generator=generator)
    return torch.where(image != 0, changed, image)


def spoil_lesion(lesion: Tensor, generator: torch.Generator) -> Tensor:
    """Give one mask (1, d, h, w) a localiser's faults: another outline, an offset, a false region, nothing at all."""
    if _chance(EMPTY, generator):
        return torch.zeros_like(lesion)
    # Averaging and cutting at another height moves the outline by up to a cell and a half.
    soft = functional.avg_pool3d(lesion, 3, stride=1, padding=1)
    cut = 0.06 + 0.5 * float(torch.rand((), generator=generator))
    spoiled = (soft > min(cut, 0.6 * float(soft.max()))).float()
    if _chance(SHIFTED, generator):
        by = torch.randint(-2, 3, (3,), generator=generator).tolist()
        spoiled = spoiled.roll(by, dims=(1, 2, 3))
    if _chance(FALSE_REGION, generator):
        spoiled = torch.maximum(spoiled, _false_region(spoiled, generator))
    return spoiled


def spoil(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give each lesion mask the faults of a localizer, the same ones each time."""
    generator = torch.Generator().manual_seed(seed + 1)
    return [replace(s, lesion=spoil_lesion(s.lesion.float(), generator).half()) for s in samples]


def as_found(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give samples with masks as a node has them: those that were drawn get a localizer's faults."""
    spoiled = iter(spoil([sample for sample in samples if not sample.is_found], seed))
    return [sample if sample.is_found else next(spoiled) for sample in samples]


def _false_region(lesion: Tensor, generator: torch.Generator) -> Tensor:
    """Mark a small cube somewhere about the middle of the head."""
    region = torch.zeros_like(lesion)
    side = int(torch.randint(2, 5, (), generator=generator))
    corner = [int(n * (0.25 + 0.5 * float(torch.rand((), generator=generator)))) for n in lesion.shape[1:]]
    region[0, corner[0] : corner[0] + side, corner[1] : corner[1] + side, corner[2] : corner[2] + side] = 1
    return region


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share
