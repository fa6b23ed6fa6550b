"""The training command gives the same pinned weights each time, and the diagnosis opens them."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from lessons import taught
from monai.bundle import ConfigParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.errors import ConfigError
from vb_node.models.architecture import Architecture
from vb_node.models.backbones import Backbone
from vb_node.models.bundle import INFERENCE, read_bundle
from vb_node.models.diagnoser import PREFIX, WEIGHTS, DiagnoserNetwork
from vb_node.models.novelty import NoveltyGuard
from vb_node.models.pins import read_pins
from vb_node.models.weights import Weights, open_weights
from vb_node.training.calibrate import fit_guard, fit_temperature
from vb_node.training.curves import to_tensorboard
from vb_node.training.dataset import Sample
from vb_node.training.diagnoser import Lesson, learn, train_diagnoser
from vb_node.training.fit import Batch, Course, fit, identity, infer


def bright_or_dark(count: int) -> list[Sample]:
    generator = torch.Generator().manual_seed(5)
    samples = []
    for index in range(count):
        image = torch.randn(1, 80, 96, 80, generator=generator) * 0.2
        lesion = torch.zeros(1, 80, 96, 80)
        lesion[:, 30:42, 30:42, 30:42] = 1
        image[lesion > 0] += 3 if index % 2 else -3
        samples.append(Sample(image, lesion, index % 2))
    return samples


def test_a_training_repeated_with_its_seed_gives_the_same_network() -> None:
    samples = bright_or_dark(4)

    first, second = (fit(samples, Course(9, 1), "mca", lambda done, total: None) for _ in range(2))

    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_network_with_attention_learns_what_the_mask_shows() -> None:
    samples = bright_or_dark(8)

    network = fit(samples, Course(9, 8), "mca", lambda done, total: None)

    with torch.inference_mode():
        guesses = [int(network(s.image[None], s.lesion[None])[0].argmax()) for s in samples]
    assert guesses == [s.target for s in samples]
    assert 1 <= fit_temperature(infer(network, Batch.of(samples))[0], Batch.of(samples).target) <= 5


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def stop_after_one(done: int, total: int) -> None:
    if done == 1:
        raise Stopped


def test_a_training_that_was_stopped_goes_on_to_the_same_network(tmp_path: Path) -> None:
    samples = bright_or_dark(4)
    whole = fit(samples, Course(9, 3), "mca", lambda done, total: None)
    heard: list[int] = []

    with pytest.raises(Stopped):
        fit(samples, Course(9, 3), "mca", stop_after_one, tmp_path)
    resumed = fit(samples, Course(9, 3), "mca", lambda done, total: heard.append(done), tmp_path)

    assert heard == [2, 3, 3]
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_tensorboard_shows_loss_and_learning_rate_of_each_epoch(tmp_path: Path) -> None:
    with to_tensorboard(tmp_path / "curves") as curve:
        fit(bright_or_dark(4), Course(9, 2), "mca", lambda done, total: None, curve=curve)

    shown = EventAccumulator(str(tmp_path / "curves")).Reload()
    first, second = shown.Scalars("mca/loss")
    assert [point.step for point in (first, second)] == [1, 2]
    assert 0 < second.value < 10
    assert len(shown.Scalars("mca/learning rate")) == 2


def test_without_the_package_a_curve_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    with pytest.raises(ConfigError, match="install.sh tensorboard"), to_tensorboard(tmp_path):
        pass


def test_another_training_does_not_go_on_from_what_was_kept(tmp_path: Path) -> None:
    samples = bright_or_dark(4)
    heard: list[int] = []
    fit(samples, Course(9, 1), "mca", lambda done, total: None, tmp_path)

    fit(samples[:3], Course(9, 1), "mca", lambda done, total: heard.append(done), tmp_path)

    assert heard == [1, 1]


@pytest.mark.timeout(300)
def test_the_training_command_writes_weights_that_the_diagnosis_opens(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    figures = train_diagnoser(tmp_path, 10, Course(3, 1), lambda done, total: heard.append((done, total)))

    weights = open_weights(WEIGHTS, tmp_path)
    diagnoser = Diagnoser.of(weights)
    assert heard[-1] == (12, 12)
    assert weights.metadata["command"] == "vb-node train diagnoser --cases 10 --seed 3 --epochs 1"
    assert figures["held_out_cases"] == 2
    assert diagnoser.classes == ("Glioma", "PCNSL", "Germinoma", "Rare")


ARCHITECTURES = [*(Architecture(backbone) for backbone in get_args(Backbone)), Architecture(tumor_pool="global")]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["resnet", "densenet121", "convnext", "pooled globally"])
def test_what_was_learned_from_cases_is_a_bundle_that_monai_builds_and_we_read_as_data(
    tmp_path: Path, architecture: Architecture
) -> None:
    samples = bright_or_dark(6)

    bundle = taught(tmp_path, samples, ("Glioma", "Rare"), Course(3, 1, 2, architecture=architecture))

    weights = open_weights(WEIGHTS, tmp_path)
    own = {name[8:]: tensor for name, tensor in weights.tensors.items() if name.startswith("network.")}
    built = ConfigParser(ConfigParser.load_config_file(bundle / INFERENCE)).get_parsed_content("network_def")
    built.load_state_dict(own)
    Diagnoser.of(weights).rehearse()
    assert built.architecture == DiagnoserNetwork.of(weights).architecture == Architecture.of(weights.metadata)
    assert built.architecture == architecture
    assert read_bundle(bundle).sha256 == weights.sha256
    assert weights.metadata["conformal"] == {"coverage": 0.9, "least_probability": 0.0, "cases": 2}
    assert not read_pins(tmp_path)[WEIGHTS].is_synthetic


def weights_of(folder: Path, samples: list[Sample], seed: int, start: Weights | None = None) -> Weights:
    return read_bundle(taught(folder, samples, ("Glioma", "Rare"), Course(seed, 2, 2, start)))


def test_a_training_that_goes_on_from_finished_weights_moves_them_a_little_and_says_from_where(tmp_path: Path) -> None:
    samples = bright_or_dark(6)
    first = weights_of(tmp_path / "first", samples, 3)

    second = weights_of(tmp_path / "second", samples, 4, first)
    anew = weights_of(tmp_path / "anew", samples, 4)

    def moved(weights: Weights) -> float:
        return sum(
            float((one - first.tensors[name]).square().sum())
            for name, one in weights.tensors.items()
            if name.startswith(PREFIX) and "radiomics" not in name
        )

    assert 0 < moved(second) < moved(anew) / 4
    assert second.metadata["started_from_sha256"] == first.sha256
    assert anew.metadata["started_from_sha256"] is None


def test_phantoms_that_go_on_keep_how_heads_look_and_guard_their_own_vectors(tmp_path: Path) -> None:
    samples = bright_or_dark(6)
    first = weights_of(tmp_path, samples, 3)
    lesson = Lesson(samples, [], ("Glioma", "Rare"), "few", "x", Course(4, 2, 2, first), is_synthetic=True)
    network = Diagnoser.of(weights_of(tmp_path / "second", samples, 4, first)).network

    guard, before = lesson.guard(network, samples), NoveltyGuard.of(first.tensors)

    assert torch.equal(guard.described.mean, before.described.mean)
    assert torch.equal(guard.fused.mean, fit_guard(network, lesson.as_seen(samples)).fused.mean)
    assert not torch.equal(guard.fused.mean, before.fused.mean)


def test_trainings_from_other_weights_are_not_taken_for_one_another(tmp_path: Path) -> None:
    samples = bright_or_dark(4)
    first, second = (weights_of(tmp_path / str(seed), samples, seed) for seed in (3, 4))
    names = {identity(samples, Course(9, 1, 2, start), "mca") for start in (None, first, second)}

    assert len(names) == 3


def test_few_cases_calibrate_across_parts_and_the_weights_learn_from_all(tmp_path: Path) -> None:
    samples = [replace(sample, is_found=True) for sample in bright_or_dark(8)]
    parts = [(range(4, 8), range(4)), (range(4), range(4, 8))]
    lesson = Lesson(samples, parts, ("Glioma", "Rare"), "a few", "vb-node train", Course(3, 4, 2))
    heard: list[tuple[int, int]] = []

    figures = learn(lesson, tmp_path, lambda done, total: heard.append((done, total)))

    alone = fit(samples, lesson.course, "mca", lambda done, total: None)
    kept = open_weights(WEIGHTS, tmp_path)
    assert heard[-1] == (12, 12)
    assert figures["held_out_cases"] == 8
    assert "accuracy_localizers_mask" in figures
    assert "accuracy_gap_only" not in figures
    assert kept.metadata["conformal"]["cases"] == 8
    assert all(torch.equal(kept.tensors[f"{PREFIX}{name}"], one) for name, one in alone.state_dict().items())
