"""Say how far an input lies from the training data, so that no class is read where none was learned.

Two clouds are fitted to the training data, after Lee et al. (NeurIPS 2018): the network's fused vectors, and plain
figures of the brain's appearance, which a network may have learned to ignore. The larger distance counts.
Input: image (1, 1, 80, 96, 80) and fused vector (1, n). Output: the distance over its threshold; above 1 is unlike.
Weights: part of ``diagnoser.safetensors``.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from vb_node.models.appearance import Anatomy, describe

# The share of held-out training-like inputs that count as known.
KNOWN_SHARE = 0.99
# Weight of the diagonal in the covariance: there are few more cases than dimensions.
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class Cloud:
    """A Mahalanobis distance: ``mean`` (n), ``root`` (n, n), root^T root the inverse covariance, ``threshold`` ()."""

    mean: Tensor
    root: Tensor
    threshold: Tensor

    @classmethod
    def fit(cls, known: Tensor) -> Self:
        """Fit to known vectors (m, n); the threshold is 1."""
        # (n)
        mean, scale = known.mean(dim=0), known.std(dim=0).clamp_min(1e-6)
        # (n, n)
        correlation = torch.cov(((known - mean) / scale).T)
        shrunk = (1 - SHRINKAGE) * correlation + SHRINKAGE * torch.eye(len(mean))
        root = torch.linalg.inv(torch.linalg.cholesky(shrunk)) / scale
        return cls(mean, root, torch.ones(()))

    def up_to(self, distances: Tensor) -> Self:
        """Set the threshold by the distances (h), measured by this cloud, of vectors that it was not fitted to."""
        return replace(self, threshold=self.threshold * torch.quantile(distances, KNOWN_SHARE))

    def novelty(self, vectors: Tensor) -> Tensor:
        """Give the distance over the threshold: (m, n) -> (m)."""
        distance: Tensor = torch.linalg.vector_norm((vectors - self.mean) @ self.root.T, dim=1)
        return distance / self.threshold

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Name the cloud's tensors for a weights file."""
        return {f"{prefix}.mean": self.mean, f"{prefix}.root": self.root, f"{prefix}.threshold": self.threshold}

    @classmethod
    def of(cls, tensors: dict[str, Tensor], prefix: str) -> Self:
        """Read the cloud back."""
        return cls(*(tensors[f"{prefix}.{name}"] for name in ("mean", "root", "threshold")))


@dataclass(frozen=True, eq=False)
class NoveltyGuard:
    """The training data's anatomy and its two clouds."""

    anatomy: Anatomy
    fused: Cloud
    described: Cloud

    @classmethod
    def fit(cls, image: Tensor, fused: Tensor) -> Self:
        """Fit to images (m, 1, d, h, w) with their fused vectors (m, n); both thresholds are 1."""
        anatomy = Anatomy.fit(image)
        return cls(anatomy, Cloud.fit(fused), Cloud.fit(describe(image, anatomy)))

    def up_to(self, distances: Tensor) -> Self:
        """Set both thresholds by the distances (2, h) of inputs that it was not fitted to."""
        return replace(self, fused=self.fused.up_to(distances[0]), described=self.described.up_to(distances[1]))

    def distances(self, image: Tensor, fused: Tensor) -> Tensor:
        """Give both distances: (b, 1, d, h, w), (b, n) -> (2, b)."""
        return torch.stack([self.fused.novelty(fused), self.described.novelty(describe(image, self.anatomy))])

    def novelty(self, image: Tensor, fused: Tensor) -> Tensor:
        """Give the larger distance: (b, 1, d, h, w), (b, n) -> (b)."""
        return self.distances(image, fused).amax(dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Name the guard's tensors for a weights file."""
        anatomy = {"novelty.anatomy.mean": self.anatomy.mean, "novelty.anatomy.components": self.anatomy.components}
        return anatomy | self.fused.tensors("novelty.fused") | self.described.tensors("novelty.described")

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Self:
        """Read the guard back."""
        anatomy = Anatomy(tensors["novelty.anatomy.mean"], tensors["novelty.anatomy.components"])
        return cls(anatomy, *(Cloud.of(tensors, f"novelty.{name}") for name in ("fused", "described")))
