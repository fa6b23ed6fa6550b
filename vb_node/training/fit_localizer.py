"""Train the network of the `network` slice detector on generated heads and a site's own, pin it, write it as a bundle.

Deterministic by seed on one machine and number of threads, and resumable: each step draws its crops by its own seed.
The learning rate is constant and the weights that are kept are a moving average, so a longer training only continues
a shorter one.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from monai.losses.dice import DiceFocalLoss
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vb_node.models.bundle import Story, write_bundle
from vb_node.models.device import half_where_fast, is_gpu
from vb_node.models.lesion_network import CHANNELS, LIMIT, NETWORK_MM, PATCH, SHAPE, WEIGHTS, build
from vb_node.models.pins import Pin
from vb_node.models.weights import Weights, learned_from, write_pin, write_weights
from vb_node.training.code import code_sha256
from vb_node.training.crop import WITH_LESION, Crop, make_crop
from vb_node.training.curves import Curve, no_curve
from vb_node.training.diagnoser import BUNDLE, SEEDS_PER_TRAINING
from vb_node.training.phantom import Progress
from vb_node.training.training_head import TrainingHead, make_heads, split

BATCH = 8
LEARNING_RATE, TUNING_RATE = 2e-3, 1e-3  # of a training anew, and of one that goes on from finished weights
WARM_UP = 100
AVERAGED_OVER = 0.995
HELD_OUT = 0.15
OF_TUMOURS = 0.45  # of the crops with a lesion, where heads with a tumour of their own are among them
MEASURED_CROPS = 160
CHECKPOINT_STEPS = 50


@dataclass(frozen=True, eq=False)
class Heads:
    """What crops are cut from: healthy heads, into which lesions are drawn, and heads with a tumour of their own."""

    healthy: Sequence[TrainingHead]
    tumours: Sequence[TrainingHead] = ()

    def with_others(self, others: "Heads") -> "Heads":
        """Add other heads."""
        return Heads([*self.healthy, *others.healthy], [*self.tumours, *others.tumours])

    def split(self) -> tuple["Heads", "Heads"]:
        """Give those that teach, and those held out."""
        parts = [split(heads, HELD_OUT) if heads else ((), ()) for heads in (self.healthy, self.tumours)]
        known, held_out = (Heads(*side) for side in zip(*parts, strict=True))
        return known, held_out


class Training:
    """One training: network, moving average and optimiser, and the steps that were done."""

    def __init__(self, seed: int, start: Weights | None = None, device: str = "cpu") -> None:
        torch.manual_seed(seed)
        self.seed, self.device, self.steps = seed, device, 0
        self.rate = TUNING_RATE if start else LEARNING_RATE
        # Channels last takes about two thirds of the time of the default on a CPU, for as few channels as these.
        self.network = build().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if start is not None:
            self.network.load_state_dict(start.tensors)
        self.network.to(device)
        moving = get_ema_multi_avg_fn(AVERAGED_OVER)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=moving, use_buffers=True)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=1e-3)
        # The focal part is a mean over voxels, nearly all of them easy background.
        self.loss = DiceFocalLoss(sigmoid=True, batch=True, gamma=2.0, lambda_dice=0.5, lambda_focal=20.0)

    def step(self, heads: Heads) -> float:
        """Learn from one batch; give its loss."""
        crops = make_crops(heads, BATCH, [self.seed, self.steps])
        fields, lesion = (
            torch.stack(one).to(self.device) for one in zip(*((c.fields, c.lesion) for c in crops), strict=True)
        )
        self.optimiser.param_groups[0]["lr"] = self.rate * min(1, (self.steps + 1) / WARM_UP)
        self.network.train()
        with half_where_fast(self.device):
            logits = self.network(fields.contiguous(memory_format=torch.channels_last_3d))
        loss: Tensor = self.loss(logits.float(), lesion)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.steps += 1
        return float(loss.detach())

    def save(self, path: Path, name: str) -> None:
        """Keep all that a training needs to go on; ``name`` is what it is known by."""
        parts = {part: getattr(self, part).state_dict() for part in ("network", "average", "optimiser")}
        torch.save(parts | {"name": name, "steps": self.steps}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path, name: str) -> None:
        """Go on from what was kept, if it is of the same training: another one begins anew."""
        kept = torch.load(path, weights_only=True, map_location="cpu")
        if kept.get("name") == name:
            for part in ("network", "average", "optimiser"):
                getattr(self, part).load_state_dict(kept[part])
            self.steps = kept["steps"]

    def averaged(self) -> nn.Module:
        """Give the network of the moving average, ready to be asked on a CPU."""
        return deepcopy(self.average.module).cpu().eval()


def make_crops(heads: Heads, count: int, seed: Sequence[int], of_tumours: float = OF_TUMOURS) -> list[Crop]:
    """Make crops of heads drawn at random; a fixed share of them has a lesion, drawn or the head's own."""
    rng = np.random.default_rng(seed)
    with_lesion = round(count * WITH_LESION)
    crops = []
    for index in range(count):
        has_lesion = index < with_lesion
        is_own = has_lesion and bool(heads.tumours) and rng.random() < of_tumours
        among = heads.tumours if is_own else heads.healthy
        crops.append(make_crop(among[int(rng.integers(len(among)))], rng, has_lesion))
    return crops


@dataclass(frozen=True)
class Lesson:
    """What a training is known by: how many heads and phantoms, seed, steps, what it goes on from, and the device.

    ``data`` names a site's own cases in words, ``data_sha256`` by their content; ``has_patients`` says that not all of
    them are phantoms.
    """

    heads: int
    seed: int
    steps: int
    phantoms: int = 0
    start: Weights | None = None
    device: str = "cpu"
    data: str | None = None
    data_sha256: str | None = None
    has_patients: bool = False

    @property
    def is_synthetic(self) -> bool:
        """Say whether no patient's case was ever learned from, before it goes on or now."""
        before = self.start is None or self.start.metadata.get("is_trained_on_synthetic_data", True)
        return bool(before) and not self.has_patients

    @property
    def command(self) -> str:
        """The command that does it again; the weights it goes on from are named by their digest."""
        return self.name.replace(f"--seed {self.seed}", f"--seed {self.seed} --steps {self.steps}")

    @property
    def name(self) -> str:
        """What decides each step: all but how many there are, as a longer training only continues a shorter one."""
        words = f"vb-node train localizer --heads {self.heads} --seed {self.seed}"
        words += f" --data {self.data}" if self.data else ""
        words += f" --phantoms {self.phantoms}" if self.phantoms else ""
        words += f" --start {self.start.sha256[:12]}" if self.start else ""
        return words + (f" --device {self.device}" if is_gpu(self.device) else "")


def train_localizer(
    out: Path,
    lesson: Lesson,
    progress: Progress,
    measured_crops: int = MEASURED_CROPS,
    curve: Curve = no_curve,
    site: tuple[Heads, Heads] | None = None,
) -> dict[str, float]:
    """Train, write ``localizer.safetensors``, its pin and the bundle into ``out``; give the figures.

    ``site`` are a site's own heads, those that teach and those held out: where there are some, the figures are of crops
    of those that were held out, each lesion the head's own; crops without one are of generated heads, unless a head
    without tumour was held out. ``out / "heads"`` and a checkpoint are kept: the same
    command of the same code goes on where it was stopped.
    """
    total = lesson.heads + lesson.phantoms + lesson.steps
    known, held_out = _make_heads(out / "heads", lesson, lambda done: progress(done, total)).split()
    of_tumours = OF_TUMOURS
    if site is not None:
        known, of_tumours = known.with_others(site[0]), 1.0
        held_out = Heads(site[1].healthy or held_out.healthy, site[1].tumours)
    training = Training(lesson.seed, lesson.start, lesson.device)
    known_as = f"{lesson.name} {lesson.data_sha256 or ''} {code_sha256()}"
    checkpoint = out / f"fit-{sha256(known_as.encode()).hexdigest()[:16]}.pt"
    if checkpoint.exists():
        training.resume(checkpoint, known_as)
    while training.steps < lesson.steps:
        curve("localizer/loss", training.step(known), training.steps)
        if training.steps % CHECKPOINT_STEPS == 0:
            training.save(checkpoint, known_as)
        progress(total - lesson.steps + training.steps, total)
    figures = measure(training.averaged(), make_crops(held_out, measured_crops, [lesson.seed, 0, 1], of_tumours))
    write(out, training.averaged(), lesson, figures)
    return figures


def _make_heads(folder: Path, lesson: Lesson, told: Callable[[int], None]) -> Heads:
    first, done = lesson.seed * SEEDS_PER_TRAINING, lesson.heads
    later = first + SEEDS_PER_TRAINING // 2
    healthy = make_heads(folder, lesson.heads, first, lambda made, _: told(made), has_tumour=False)
    return Heads(
        healthy, make_heads(folder, lesson.phantoms, later, lambda made, _: told(done + made), has_tumour=True)
    )


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


def write(out: Path, network: nn.Module, lesson: Lesson, figures: dict[str, float]) -> None:
    """Write weights, pin and bundle; what the detector needs to know travels in the file's metadata."""
    sets = [*learned_from(lesson.start), *filter(None, [lesson.data_sha256])]
    of_site = "".join(f"cases of the data set sha256:{one}, " for one in sets)
    only = "; nothing clinical can be claimed" if lesson.is_synthetic else ""
    trained_on = f"{of_site}generated heads and lesions{' only' if not of_site else ''}{only}"
    metadata = {
        "network": "localizer",
        "grid_mm": NETWORK_MM,
        "patch": list(PATCH),
        "trained_on": trained_on,
        "is_trained_on_synthetic_data": lesson.is_synthetic,
        "data_sha256": lesson.data_sha256,
        "learned_from": sets,
        "started_from_sha256": lesson.start.sha256 if lesson.start else None,
        "command": lesson.command,
        "seed": lesson.seed,
        "figures": figures,
    }
    digest = write_weights(out / WEIGHTS, network.state_dict(), metadata)
    write_pin(out / WEIGHTS, Pin(digest, lesson.command, lesson.seed, figures, lesson.is_synthetic, "localizer"))
    story = Story(
        network="localizer",
        module="Tumor-Localizer, network",
        task="Where in the head a lesion may be, on T1-weighted MR after contrast agent",
        about=[],
        inference={"network_def": {"_target_": "monai.networks.nets.UNet"} | SHAPE, "weights_prefix": ""},
        data_format=_DATA_FORMAT,
        trained_on=trained_on,
        command=lesson.command,
        figures=figures,
        sha256=digest,
    )
    write_bundle(out / BUNDLE, out / WEIGHTS, story)


_TENSOR = {"type": "image", "modality": "MR", "dtype": "float32", "is_patch_data": True, "spatial_shape": list(PATCH)}
_FIELDS = ("z-scored brain, 2 mm", "its mirror image", "distance from the midline, dm", "posterior, dm", "superior, dm")
_IMAGE = {"format": "magnitude", "num_channels": CHANNELS, "value_range": [-LIMIT, LIMIT]}
_LOGITS = {"format": "segmentation", "num_channels": 1, "value_range": [], "channel_def": {"0": "lesion"}}
# what goes in and comes out, in the words of MONAI's specification
_DATA_FORMAT = {
    "inputs": {"image": _TENSOR | _IMAGE | {"channel_def": {str(n): field for n, field in enumerate(_FIELDS)}}},
    "outputs": {"logits": _TENSOR | _LOGITS},
}
