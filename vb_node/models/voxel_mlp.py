"""The voxel-wise classifier of Tumor-Localizer's block 2: 9-32-16-1, trained anew for each case.

Paper: Virtual Biopsy, arXiv 2602.21613, Fig. 3. Input (n, 9) features, output (n) probability. No weights file.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vb_node.types import Floats, Mask


@dataclass(frozen=True)
class MlpSettings:
    """How one case's classifier is trained; ``held_out`` is the share of voxels that decides when to stop."""

    learning_rate: float = 0.02
    weight_decay: float = 1e-2
    epochs: int = 120
    patience: int = 15
    held_out: float = 0.2
    seed: int = 0


class VoxelMLP(nn.Module):
    """Tell tumour from background by the features of one voxel."""

    def __init__(self, features: int = 9) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(features))
        self.scale = nn.Buffer(torch.ones(features))
        self.layers = nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = ((x - self.mean) / self.scale).clamp(-8, 8)  # (n, 9): one odd voxel must not decide
        logits: Tensor = self.layers(x)  # (n, 1)
        return logits.squeeze(1)  # (n)

    @torch.inference_mode()
    def probability(self, features: Floats) -> Floats:
        """Give the probability of tumour (n) for features (n, 9)."""
        return np.asarray(torch.sigmoid(self(torch.from_numpy(features))).numpy(), dtype=np.float32)


def fit_voxel_mlp(features: Floats, is_tumour: Mask, settings: MlpSettings) -> VoxelMLP:
    """Train on pseudo-labels: features (n, 9), truths (n); the same input and seed give the same network.

    Voxels weigh the same: the caller's shares are the prior odds. The best epoch on the held-out voxels is kept.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = VoxelMLP(features.shape[1])
    x, y = torch.from_numpy(features), torch.from_numpy(is_tumour.astype(np.float32))
    model.mean.copy_(x.mean(dim=0))
    model.scale.copy_(x.std(dim=0) + 1e-6)
    held_out = _draw_held_out(len(y), settings)
    threads = torch.get_num_threads()
    # too small to share: more threads only wait for each other, and their number would change the sums
    torch.set_num_threads(1)
    try:
        _descend(model, x, y, held_out, settings)
    finally:
        torch.set_num_threads(threads)
    return model.eval()


def _draw_held_out(count: int, settings: MlpSettings) -> Tensor:
    # the count in the seed keeps this draw apart from one that a caller may have made with the same seed
    chosen: NDArray[np.bool_] = np.random.default_rng([settings.seed, count]).random(count) < settings.held_out
    return torch.from_numpy(chosen)


def _descend(model: VoxelMLP, x: Tensor, y: Tensor, held_out: Tensor, settings: MlpSettings) -> None:
    """Descend on all training voxels at once, stop early, and leave the best weights in ``model``."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    loss = nn.BCEWithLogitsLoss()
    best, best_epoch, best_loss = _weights(model), 0, float("inf")
    for epoch in range(settings.epochs):
        optimiser.zero_grad()
        loss(model(x[~held_out]), y[~held_out]).backward()
        optimiser.step()
        with torch.inference_mode():
            now = float(loss(model(x[held_out]), y[held_out]))
        if now < best_loss:
            best, best_epoch, best_loss = _weights(model), epoch, now
        elif epoch - best_epoch > settings.patience:
            break
    model.load_state_dict(best)


def _weights(model: VoxelMLP) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
