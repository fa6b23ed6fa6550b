"""The phantom of benchmark A: a tiny lesion among look-alikes, where only the mask says which is meant."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional

from vb_node.models.diagnoser import Fusion
from vb_node.models.mca import MaskedChannelAttention, TumorPool
from vb_node.types import Floats, Mask

SIDE, RADIUS, LOOK_ALIKES, KINDS = 28, 3, 4, 4
SIZES = TRAINING, TEST = 160, 200
EPOCHS, BATCH = 25, 8
WIDTHS, STRIDES = (1, 8, 16, 24, 32), (1, 2, 1, 2)
BALL = np.stack(np.meshgrid(*[np.arange(-RADIUS, RADIUS + 1)] * 3, indexing="ij"))
DISTANCE = np.sqrt((BALL**2).sum(axis=0))


@dataclass(frozen=True, eq=False)
class Phantoms:
    """Images and masks of the lesion (n, 1, 28, 28, 28), and its kind (n)."""

    image: Tensor
    mask: Tensor
    kind: Tensor


class TinyNetwork(nn.Module):
    """Four layers to stride 4, and the node's own attention and fusion (equations 7 to 9) on the last."""

    def __init__(self, fusion: Fusion, pool: TumorPool) -> None:
        super().__init__()
        layers = zip(WIDTHS, WIDTHS[1:], STRIDES, strict=False)
        self.backbone = nn.Sequential(*(_layer(*one) for one in layers))
        self.attend = MaskedChannelAttention(WIDTHS[-1], tumor_pool=pool) if fusion == "mca" else None
        self.head = nn.Linear(2 * WIDTHS[-1], KINDS)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        # (b, 1, 28, 28, 28) -> (b, 32, 7, 7, 7)
        features = self.backbone(image)
        # (b, 32)
        whole = features.mean(dim=(2, 3, 4))
        tumour = torch.zeros_like(whole) if self.attend is None else self.attend(features, mask)
        logits: Tensor = self.head(torch.cat([whole, tumour], dim=1))
        return logits


def _layer(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(before, after, 3, stride, padding=1), nn.BatchNorm3d(after), nn.ReLU())


def make(count: int, rng: Generator, spoil: Callable[[Mask, Generator], Mask]) -> Phantoms:
    """Draw noise with a lesion and four look-alikes of any kind, apart from each other."""
    images, masks = (np.zeros((count, 1, SIDE, SIDE, SIDE), dtype=np.float32) for _ in range(2))
    kinds = np.arange(count) % KINDS
    for image, mask, kind in zip(images, masks, kinds, strict=True):
        image[0] = rng.standard_normal(image[0].shape) * 0.5
        for place, corner in enumerate(_corners(rng)):
            box = tuple(slice(c, c + 2 * RADIUS + 1) for c in corner)
            is_lesion = place == 0
            image[0][box] += _texture(int(kind if is_lesion else rng.integers(KINDS)))
            if is_lesion:
                mask[0][box] = DISTANCE <= RADIUS
        mask[0] = spoil(mask[0] > 0, rng)
    return Phantoms(torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(kinds))


def _corners(rng: Generator) -> list[tuple[int, ...]]:
    corners: list[tuple[int, ...]] = []
    while len(corners) < 1 + LOOK_ALIKES:
        corner = rng.integers(0, SIDE - 2 * RADIUS, 3)
        if all(np.abs(corner - other).max() > 2 * RADIUS for other in corners):
            corners.append(tuple(int(c) for c in corner))
    return corners


def _texture(kind: int) -> Floats:
    """Give a solid, ringed, striped or bright-cored ball, each alike in its mean."""
    inside = DISTANCE <= RADIUS
    solid = inside.astype(np.float32)
    ring, core = inside & (DISTANCE > RADIUS - 1.2), DISTANCE <= RADIUS - 1.5
    stripes = inside & (BALL[0] % 2 == 0)
    chosen = (inside, ring, stripes, core)[kind]
    return np.asarray(2 * chosen * solid.sum() / chosen.sum(), dtype=np.float32)


def true(mask: Mask, _rng: Generator) -> Mask:
    return mask


def dilated_and_shifted(mask: Mask, rng: Generator) -> Mask:
    """Widen by two voxels and move by up to two, as a localizer would."""
    wide = functional.max_pool3d(torch.from_numpy(mask[None].astype(np.float32)), 5, stride=1, padding=2)[0].numpy() > 0
    return np.roll(wide, rng.integers(-2, 3, 3), axis=(0, 1, 2))


def elsewhere(mask: Mask, rng: Generator) -> Mask:
    """Mark a place without any lesion, or with a look-alike."""
    return np.roll(mask, rng.integers(RADIUS * 3, SIDE - RADIUS * 3, 3), axis=(0, 1, 2))


NO_MASK, MASKED, GLOBAL = "GAP only, no mask", "MCA, pooled in the mask", "MCA, pooled globally (Fig. 4)"
FAULTY, WRONG = "MCA, mask dilated and shifted", "MCA, mask in a wrong place"
ARMS: dict[str, tuple[Fusion, TumorPool, Callable[[Mask, Generator], Mask]]] = {
    NO_MASK: ("gap", "masked", true),
    MASKED: ("mca", "masked", true),
    GLOBAL: ("mca", "global", true),
    FAULTY: ("mca", "masked", dilated_and_shifted),
    WRONG: ("mca", "masked", elsewhere),
}


def accuracy(arm: str, seed: int, epochs: int = EPOCHS) -> float:
    """Train one arm and give its accuracy on new phantoms; a mask's error is the same in training and test."""
    fusion, pool, spoil = ARMS[arm]
    torch.manual_seed(seed)
    learned, asked = (make(count, np.random.default_rng([seed, part]), spoil) for part, count in enumerate(SIZES))
    network = TinyNetwork(fusion, pool)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = epochs * TRAINING // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.split(torch.randperm(TRAINING), BATCH):
            loss = functional.cross_entropy(network(learned.image[some], learned.mask[some]), learned.kind[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.inference_mode():
        logits = network.eval()(asked.image, asked.mask)
    return float((logits.argmax(dim=1) == asked.kind).float().mean())
