"""What a lesion shows in numbers that a small network on 2 mm cells has to learn from many cases: radiomics.

First-order statistics, shape, layers from the outline to the core, texture (Laplacian of Gaussian) and the
surroundings (oedema), after the feature families of the Image Biomarker Standardisation Initiative (Zwanenburg et al.,
Radiology 2020, doi:10.1148/radiol.2020191145); how deep in the brain stands beside them. A multinomial logistic
regression turns them into logits, which add to the network's: a product of two experts.

Input: image (b, 1, 80, 96, 80), z-scored, 0 outside the brain, and lesion mask (b, 1, 80, 96, 80), 0 to 1, of 2 mm.
Output: logits (b, classes); 0 where the mask is empty or nothing was fitted.
Weights: part of ``diagnoser.safetensors``.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from vb_node.types import Floats, Mask

CELL_MM = 2.0
# Beyond the outline of a lesion nothing is looked at farther away than this.
REACH_MM = 10.0
PERCENTILES = (2, 5, 10, 25, 50, 75, 90, 95, 98)
# Shares of the way from the outline to the core.
LAYERS = ((0.0, 0.33), (0.33, 0.66), (0.66, 1.01))
SMOOTH_MM = (2.0, 3.0)
BLOB_MM = (2.0, 3.0, 4.5)
DARK_Z = (-2.0, -1.0, 0.0)
SHELLS_MM = ((0.0, 3.0), (3.0, 6.0), (6.0, 10.0))
COUNT = len(PERCENTILES) + 4 + 2 * len(LAYERS) + 3 * len(SMOOTH_MM) + 3 * len(BLOB_MM) + 2 * len(DARK_Z) + 9 + 1 + 3
# A feature farther out than this many standard deviations counts as if it were there.
FARTHEST = 4.0
# The inverse strength of the ridge penalty, as scikit-learn's ``LogisticRegression`` has it by default.
PENALTY_C = 1.0


class Radiomics(nn.Module):
    """Logits from a lesion's features; 0 before ``fit``."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COUNT))
        self.register_buffer("scale", torch.ones(COUNT))
        self.register_buffer("weight", torch.zeros(classes, COUNT))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        features = radiomics(image, mask).to(self.mean)
        # (b, n) -> (b, classes)
        logits = functional.linear(self._standardised(features), self.weight, self.bias)
        return logits * mask.flatten(1).any(dim=1, keepdim=True)

    def fit(self, features: Tensor, target: Tensor) -> None:
        """Fit to features (m, n) of known lesions by penalised maximum likelihood."""
        self.mean, self.scale = features.mean(dim=0), features.std(dim=0).clamp_min(1e-3)
        known = self._standardised(features)
        weight, bias = (
            torch.zeros_like(self.weight, requires_grad=True),
            torch.zeros_like(self.bias, requires_grad=True),
        )
        solver = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            wrong = functional.cross_entropy(functional.linear(known, weight, bias), target, reduction="sum")
            total = wrong + weight.square().sum() / (2 * PENALTY_C)
            total.backward()  # type: ignore[no-untyped-call]
            return total

        solver.step(loss)  # type: ignore[no-untyped-call]
        self.weight, self.bias = weight.detach(), bias.detach()

    def _standardised(self, features: Tensor) -> Tensor:
        return ((features - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)


def radiomics(image: Tensor, mask: Tensor) -> Tensor:
    """Give the features of each lesion: (b, 1, d, h, w) twice -> (b, n); of an empty mask all are 0."""
    pairs = zip(image[:, 0].float().cpu().numpy(), mask[:, 0].float().cpu().numpy(), strict=True)
    return torch.from_numpy(np.stack([_of_lesion(z, share) for z, share in pairs]))


def _of_lesion(z: Floats, share: Floats) -> Floats:
    if not share.any():
        return np.zeros(COUNT, dtype=np.float32)
    # a lesion of less than half a cell is where most of it is
    lesion = share >= min(0.5, float(share.max()))
    place = (np.argwhere(lesion).mean(axis=0) + 0.5) / lesion.shape - 0.5
    reach = int(REACH_MM / CELL_MM)
    (found,) = ndimage.find_objects(lesion.astype(np.uint8))
    box = tuple(slice(max(at.start - reach, 0), at.stop + reach) for at in found)
    lesion, z = lesion[box], z[box]
    features = [*_first_order(z[lesion]), *_shape(lesion), *_layers(z, lesion), *_texture(z, lesion), *_dark(z, lesion)]
    # a class knows no side
    features += [*_surroundings(z, lesion), place[0], place[1], abs(place[2])]
    return np.asarray(features, dtype=np.float32)


def _first_order(values: NDArray[np.floating]) -> Iterator[float]:
    yield from np.percentile(values, PERCENTILES)
    yield float(values.std())


def _shape(lesion: Mask) -> Iterator[float]:
    volume_mm3 = float(lesion.sum()) * CELL_MM**3
    radius_mm = float(_depth_mm(lesion).max())
    yield from (np.log(volume_mm3), radius_mm, radius_mm / np.cbrt(volume_mm3), float(ndimage.label(lesion)[1]))


def _layers(z: Floats, lesion: Mask) -> Iterator[float]:
    depth = _depth_mm(lesion)
    depth = depth / depth.max()
    for low, high in LAYERS:
        values = z[lesion & (depth > low) & (depth <= high)]
        # a lesion of few cells has no core of its own
        yield from (float(values.mean()), float(values.std())) if values.size else (float(z[lesion].mean()), 0.0)


def _texture(z: Floats, lesion: Mask) -> Iterator[float]:
    for width_mm in SMOOTH_MM:
        smooth = ndimage.gaussian_filter(z, width_mm / CELL_MM)[lesion]
        yield from (float(smooth.std()), float(smooth.min()), float(smooth.max()))
    for width_mm in BLOB_MM:
        width = width_mm / CELL_MM
        blob = ndimage.gaussian_laplace(z, width)[lesion] * width**2
        yield from (float(blob.std()), float(blob.max()), float(-blob.min()))


def _dark(z: Floats, lesion: Mask) -> Iterator[float]:
    for limit in DARK_Z:
        dark = lesion & (z < limit)
        yield from (float(dark.sum() / lesion.sum()), float(ndimage.label(dark)[1]))


def _surroundings(z: Floats, lesion: Mask) -> Iterator[float]:
    away_mm = _depth_mm(~lesion)
    for low, high in SHELLS_MM:
        values = z[(z != 0) & (away_mm > low) & (away_mm <= high)]
        yield from np.percentile(values, (10, 50, 90)) if values.size else (0.0, 0.0, 0.0)


def _depth_mm(mask: Mask) -> Floats:
    return np.asarray(ndimage.distance_transform_edt(mask) * CELL_MM, dtype=np.float32)
