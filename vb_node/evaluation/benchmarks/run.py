"""Run benchmarks A and B: ``vb-node evaluate mca`` and ``vb-node evaluate localizer`` without a data set."""

from collections.abc import Sequence

import numpy as np

from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.evaluation.benchmarks.block_2 import Stage, dice, recall, stages, worst_recall
from vb_node.evaluation.benchmarks.gates import Found, Gate
from vb_node.evaluation.benchmarks.small_head import CentralBoxes, small_head
from vb_node.evaluation.benchmarks.tiny_lesions import ARMS, EPOCHS, FAULTY, MASKED, NO_MASK, WRONG, accuracy
from vb_node.training.phantom import Progress

HEADS_A_SEED = 20


def benchmark_a(seeds: Sequence[int], progress: Progress, epochs: int = EPOCHS) -> Found:
    """Masked Channel Attention against global pooling, where only the mask says which of five lesions is meant."""
    found: dict[str, list[float]] = {}
    for arm in ARMS:
        for seed in seeds:
            found.setdefault(arm, []).append(accuracy(arm, seed, epochs))
            progress(sum(map(len, found.values())), len(ARMS) * len(seeds))
    mean = {arm: float(np.mean(of)) for arm, of in found.items()}
    lines = {
        arm: {f"seed {seed}": one for seed, one in zip(seeds, of, strict=True)} | {"mean": mean[arm]}
        for arm, of in found.items()
    }
    gates = [
        Gate(f"accuracy, {MASKED}", mean[MASKED], least=max(0.9, mean[NO_MASK] + 0.2)),
        Gate(f"accuracy, {FAULTY}", mean[FAULTY], least=0.85),
        Gate(f"accuracy, {WRONG}", mean[WRONG], most=mean[NO_MASK] + 0.1),
    ]
    return Found("A: a tiny lesion among look-alikes, accuracy (chance 0.25)", seeds, lines, gates)


def benchmark_b(seeds: Sequence[int], progress: Progress, heads: int = HEADS_A_SEED) -> Found:
    """From a weak detector's boxes to the union of classifier and prior, and what becomes of boxes that are all false.

    Each seed draws ``heads`` heads of its own, and every gate is held against the worst seed.
    """
    found: list[dict[str, list[Stage]]] = []
    for done, seed in enumerate(seeds, start=1):
        found.append(stages(range(seed * heads, (seed + 1) * heads)))
        progress(done, len(seeds))
    lines: dict[str, dict[str, float | str]] = {
        f"seed {seed}, {name}": {
            "Dice": dice(of),
            "recall": recall(of),
            "precision": float(np.mean([one.precision for one in of])),
            "recall of the worst tenth": worst_recall(of),
        }
        for seed, one_found in zip(seeds, found, strict=True)
        for name, of in one_found.items()
    }
    denied = {varied: min(_denied(seed, heads, are_varied=varied) for seed in seeds) for varied in (False, True)}
    gates = [
        Gate("recall of the coarse prior", min(recall(of["coarse"]) for of in found), least=0.9),
        Gate("union over coarse prior, Dice", min(dice(of["union"]) - dice(of["coarse"]) for of in found), least=0.08),
        Gate("union over boxes, Dice", min(dice(of["union"]) - dice(of["boxes"]) for of in found), least=0.25),
        Gate("recall of the worst tenth, union", min(worst_recall(of["union"]) for of in found), least=0.6),
        Gate("one false box on slice after slice ends unreliable, share of heads", denied[False], least=1.0),
        Gate("false boxes of many sizes end unreliable, share of heads", denied[True], least=0.9),
    ]
    return Found(f"B: {heads} heads a seed, boxes of a simulated detector", seeds, lines, gates)


def _denied(seed: int, heads: int, *, are_varied: bool) -> float:
    """Give the share of a seed's heads, with a lesion and without, of which boxes at the middle end as unreliable."""
    numbers = range(seed * heads, (seed + 1) * heads)
    drawn = [small_head(n, has_lesion=has_lesion) for n in numbers for has_lesion in (True, False)]
    false = (localise(head.standard, CentralBoxes(head.lesion, are_varied=are_varied)) for head in drawn)
    return float(np.mean([prior.state == "unreliable" for prior in false]))
