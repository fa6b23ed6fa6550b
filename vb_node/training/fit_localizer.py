"""Train the network of the `network` slice detector on generated heads and drawn lesions, and pin its weights.

Deterministic by seed on one machine and number of threads, and resumable: each step draws its crops by its own seed.
The learning rate is constant and the weights that are kept are a moving average, so a longer training only continues
a shorter one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.losses.dice import DiceFocalLoss
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vb_node.models.lesion_network import NETWORK_MM, PATCH, WEIGHTS, build
from vb_node.models.pins import Pin
from vb_node.models.weights import write_pin, write_weights
from vb_node.training.crop import WITH_LESION, Crop, make_crop
from vb_node.training.curves import Curve, no_curve
from vb_node.training.diagnoser import SEEDS_PER_TRAINING
from vb_node.training.healthy_head import HealthyHead, make_heads, split
from vb_node.training.phantom import Progress

BATCH = 8
LEARNING_RATE = 2e-3
WARM_UP = 100
AVERAGED_OVER = 0.995
HELD_OUT = 0.15
MEASURED_CROPS = 160
CHECKPOINT = "localizer-checkpoint.pt"
CHECKPOINT_STEPS = 50


class Training:
    """One training: network, moving average and optimiser, and the steps that were done."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed, self.steps = seed, 0
        # Channels last takes about two thirds of the time of the default on a CPU, for as few channels as these.
        self.network = build().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        moving = get_ema_multi_avg_fn(AVERAGED_OVER)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=moving, use_buffers=True)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
        # The focal part is a mean over voxels, nearly all of them easy background.
        self.loss = DiceFocalLoss(sigmoid=True, batch=True, gamma=2.0, lambda_dice=0.5, lambda_focal=20.0)

    def step(self, heads: Sequence[HealthyHead]) -> float:
        """Learn from one batch; give its loss."""
        crops = make_crops(heads, BATCH, [self.seed, self.steps])
        fields = torch.stack([crop.fields for crop in crops]).to(memory_format=torch.channels_last_3d)
        self.optimiser.param_groups[0]["lr"] = LEARNING_RATE * min(1, (self.steps + 1) / WARM_UP)
        self.network.train()
        loss: Tensor = self.loss(self.network(fields), torch.stack([crop.lesion for crop in crops]))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.steps += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Keep all that a training needs to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        torch.save(parts | {"seed": self.seed, "steps": self.steps}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Go on from what was kept, if it is of the same seed."""
        kept = torch.load(path, weights_only=True)
        if kept["seed"] == self.seed:
            for name in ("network", "average", "optimiser"):
                getattr(self, name).load_state_dict(kept[name])
            self.steps = kept["steps"]

    def averaged(self) -> nn.Module:
        """Give the network of the moving average, ready to be asked."""
        return self.average.module.eval()


def make_crops(heads: Sequence[HealthyHead], count: int, seed: Sequence[int]) -> list[Crop]:
    """Make crops of heads drawn at random; a fixed share of them has a lesion."""
    rng = np.random.default_rng(seed)
    with_lesion = round(count * WITH_LESION)
    return [make_crop(heads[int(rng.integers(len(heads)))], rng, index < with_lesion) for index in range(count)]


def train_localizer(  # noqa: PLR0913, PLR0917  what a training is known by
    out: Path,
    heads: int,
    seed: int,
    steps: int,
    progress: Progress,
    measured_crops: int = MEASURED_CROPS,
    curve: Curve = no_curve,
) -> dict[str, float]:
    """Train, write ``localizer.safetensors`` and its pin into ``out``; give the figures.

    ``out / "heads"`` and a checkpoint are kept: the same command goes on where it was stopped.
    """
    total = heads + steps
    made = make_heads(out / "heads", heads, seed * SEEDS_PER_TRAINING, lambda done, _: progress(done, total))
    known, held_out = split(made, HELD_OUT)
    training = Training(seed)
    if (out / CHECKPOINT).exists():
        training.resume(out / CHECKPOINT)
    while training.steps < steps:
        curve("localizer/loss", training.step(known), training.steps)
        if training.steps % CHECKPOINT_STEPS == 0:
            training.save(out / CHECKPOINT)
        progress(heads + training.steps, total)
    figures = measure(training.averaged(), make_crops(held_out, measured_crops, [seed, 0, 1]))
    command = f"vb-node train localizer --heads {heads} --seed {seed} --steps {steps}"
    write(out, training.averaged(), Pin("", command, seed, figures))
    return figures


def measure(network: nn.Module, crops: Sequence[Crop]) -> dict[str, float]:
    """Measure on crops: how often the highest voxel lies in the lesion, and how often there is a claim without one."""
    found, claimed, false = [], [], []
    for crop in crops:
        with torch.inference_mode():
            probability = torch.sigmoid(network(crop.fields[None]))[0]
        has_claim = bool(probability.max() >= 0.5)
        if crop.lesion.any():
            found.append(bool(crop.lesion.flatten()[probability.argmax()]))
            claimed.append(has_claim and found[-1])
        else:
            false.append(has_claim)
    return {
        "held_out_crops": float(len(crops)),
        "highest_voxel_in_the_lesion": float(np.mean(found)),
        "lesions_claimed": float(np.mean(claimed)),
        "claims_without_a_lesion": float(np.mean(false)),
    }


def write(out: Path, network: nn.Module, pin: Pin) -> None:
    """Write weights and pin; what the detector needs to know travels in the file's metadata."""
    metadata = {
        "grid_mm": NETWORK_MM,
        "patch": list(PATCH),
        "trained_on": "generated heads and drawn lesions only; nothing clinical can be claimed",
        "command": pin.command,
        "seed": pin.seed,
        "figures": dict(pin.figures),
    }
    digest = write_weights(out / WEIGHTS, network.state_dict(), metadata)
    write_pin(out / WEIGHTS, Pin(digest, pin.command, pin.seed, pin.figures))
