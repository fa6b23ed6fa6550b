"""The localizer's training: it learns, goes on where it was stopped, and its weights fit the network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from vb_node.models.bundle import INFERENCE, read_bundle
from vb_node.models.lesion_network import WEIGHTS, build
from vb_node.models.weights import open_weights
from vb_node.training.diagnoser import BUNDLE
from vb_node.training.fit_localizer import Heads, Lesson, Training, make_crops, train_localizer
from vb_node.training.training_head import TrainingHead, head_of
from vb_node.types import Grid, Mask, StandardVolume


@pytest.fixture(scope="module")
def grey_head() -> TrainingHead:
    rng = np.random.default_rng(1)
    voxels = 0.1 * rng.standard_normal((64, 72, 64), dtype=np.float32)
    affine = np.array([[0, 0, 2, -63], [0, 2, 0, -71], [2, 0, 0, -63], [0, 0, 0, 1.0]])
    outside_mm = np.full(voxels.shape, -20, dtype=np.float32)
    return TrainingHead(voxels, outside_mm, affine, -2.5, 0.5, np.zeros_like(voxels))


def test_a_few_steps_lower_the_loss(grey_head: TrainingHead) -> None:
    training = Training(seed=1)

    losses = [training.step(Heads([grey_head])) for _ in range(8)]

    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(grey_head: TrainingHead, tmp_path: Path) -> None:
    whole, first = Training(seed=2), Training(seed=2)
    for training in (whole, first):
        training.step(Heads([grey_head]))
    first.save(tmp_path / "fit.pt", "two heads")
    second = Training(seed=2)
    second.resume(tmp_path / "fit.pt", "two heads")
    for training in (whole, second):
        training.step(Heads([grey_head]))

    pairs = zip(whole.averaged().state_dict().values(), second.averaged().state_dict().values(), strict=True)

    assert second.steps == 2
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_folder_with_another_training_begins_anew(grey_head: TrainingHead, tmp_path: Path) -> None:
    first, second = Training(seed=2), Training(seed=2)
    first.step(Heads([grey_head]))
    first.save(tmp_path / "fit.pt", Lesson(2, 2, 1).name)

    second.resume(tmp_path / "fit.pt", Lesson(2, 2, 1, phantoms=3).name)

    assert second.steps == 0


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> Mask:
    offset = np.indices(shape) - np.array(centre)[:, None, None, None]
    return np.asarray((offset**2).sum(axis=0) < radius**2)


def test_a_case_of_a_site_teaches_where_its_own_lesion_is() -> None:
    shape = (96, 112, 96)
    brain, lesion = ball(shape, (48, 56, 48), 40), ball(shape, (40, 60, 64), 9)
    voxels = np.random.default_rng(1).standard_normal(shape).astype(np.float32) * brain
    voxels[lesion] = 4
    affine = np.array([[0, 0, 1, -48], [0, 1, 0, -56], [1, 0, 0, -48], [0, 0, 0, 1.0]])
    standard = StandardVolume(voxels, Grid(shape, affine, ""), brain, np.eye(4))

    head = head_of(standard, lesion)
    crops = make_crops(Heads([head_of(standard, lesion & False)], [head]), 10, [1], of_tumours=1.0)

    middle = head.atlas_from_index @ [*np.argwhere(head.lesion > 0.5).mean(axis=0), 1]
    assert np.allclose(middle[:3], (64 - 48, 60 - 56, 40 - 48), atol=0.3)
    assert head.has_tumour
    assert (head.outside_mm[head.lesion > 0.5] < 0).all()
    shown = [crop for crop in crops[:6] if crop.lesion.any()]  # some stand too far aside
    assert len(shown) >= 3
    assert not any(crop.lesion.any() for crop in crops[6:])
    assert all(float(crop.fields[0][crop.lesion[0] > 0].mean()) > 1 for crop in shown)


def test_a_longer_training_continues_a_shorter_one_and_no_other() -> None:
    lesson = Lesson(2, 2, 100, phantoms=3)

    assert Lesson(2, 2, 900, phantoms=3).name == lesson.name
    assert len({lesson.name, Lesson(2, 2, 100).name, Lesson(3, 2, 100, 3).name, Lesson(2, 4, 100, 3).name}) == 4
    assert lesson.command == "vb-node train localizer --heads 2 --seed 2 --steps 100 --phantoms 3"


@pytest.mark.timeout(300)
def test_the_training_command_writes_pinned_weights_that_fit_the_network(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    lesson = Lesson(heads=2, seed=3, steps=1)

    figures = train_localizer(tmp_path, lesson, lambda done, total: heard.append((done, total)), 10)

    weights = open_weights(WEIGHTS, tmp_path)
    network = build()
    network.load_state_dict(weights.tensors)
    bundle = tmp_path / BUNDLE
    built = ConfigParser(ConfigParser.load_config_file(bundle / INFERENCE)).get_parsed_content("network_def")
    built.load_state_dict(weights.tensors)
    assert read_bundle(bundle).sha256 == weights.sha256
    assert heard[-1] == (3, 3)
    assert weights.metadata["command"] == "vb-node train localizer --heads 2 --seed 3 --steps 1"
    assert figures["held_out_crops"] == weights.metadata["figures"]["held_out_crops"] == 10
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


@pytest.mark.timeout(300)
def test_a_training_goes_on_from_finished_weights_with_phantoms_of_their_own(tmp_path: Path) -> None:
    shipped = open_weights(WEIGHTS)
    lesson = Lesson(heads=2, seed=4, steps=1, phantoms=2, start=shipped)

    train_localizer(tmp_path, lesson, lambda *_: None, 10)

    weights = open_weights(WEIGHTS, tmp_path)
    heads = [np.load(path)["lesion"].any() for path in sorted((tmp_path / "heads").iterdir())]
    assert heads == [False, False, True, True]
    assert weights.metadata["command"].endswith(f"--steps 1 --phantoms 2 --start {shipped.sha256[:12]}")
    kernels = [(weights.tensors[name], tensor) for name, tensor in shipped.tensors.items() if tensor.ndim == 5]
    assert all(torch.allclose(now, before, atol=1e-4) for now, before in kernels)
    assert not all(torch.equal(now, before) for now, before in kernels)
