"""Crops for the localizer's network: drawn by seed, with their lesion where the label says."""

from dataclasses import replace

import numpy as np
import pytest

from vb_node.models.lesion_network import CHANNELS, LIMIT, PATCH
from vb_node.training.crop import make_crop
from vb_node.training.distractor import draw_distractors
from vb_node.training.drawn_lesion import Canvas, draw_lesion
from vb_node.training.training_head import TrainingHead


@pytest.fixture(scope="module")
def ball() -> TrainingHead:
    """Give a head that is a ball of noise, so that no phantom is needed."""
    rng = np.random.default_rng(1)
    k, j, i = np.indices((64, 72, 64), dtype=np.float32)
    outside_mm = 2 * (np.sqrt((k - 31.5) ** 2 + (j - 35.5) ** 2 + (i - 31.5) ** 2) - 27)
    affine = np.array([[0, 0, 2, -63], [0, 2, 0, -71], [2, 0, 0, -63], [0, 0, 0, 1.0]])
    voxels = 0.1 * rng.standard_normal(k.shape, dtype=np.float32)
    return TrainingHead(voxels, outside_mm.astype(np.float32), affine, -2.5, 0.5, np.zeros_like(voxels))


def test_the_same_seed_gives_the_same_crop(ball: TrainingHead) -> None:
    first, second = (make_crop(ball, np.random.default_rng([3, 1]), has_lesion=True) for _ in range(2))

    assert first.fields.equal(second.fields)
    assert first.lesion.equal(second.lesion)


def test_crops_are_what_the_network_takes_and_a_healthy_one_has_no_label(ball: TrainingHead) -> None:
    rng = np.random.default_rng(4)
    crops = [make_crop(ball, rng, has_lesion=index < 6) for index in range(12)]

    assert all(crop.fields.shape == (CHANNELS, *PATCH) for crop in crops)
    assert all(bool((crop.fields[:2].abs() <= LIMIT).all() and crop.fields.isfinite().all()) for crop in crops)
    assert sum(bool(crop.lesion.any()) for crop in crops[:6]) >= 5
    assert not any(bool(crop.lesion.any()) for crop in crops[6:])


def test_a_crop_of_a_phantom_has_its_tumour_as_lesion_and_nothing_drawn(ball: TrainingHead) -> None:
    tumour = np.zeros_like(ball.lesion)
    tumour[28:34, 20:28, 40:46] = 1
    ill = replace(ball, voxels=ball.voxels + 5 * tumour, lesion=tumour)
    crops = [make_crop(ill, np.random.default_rng(seed), has_lesion=True) for seed in range(12)]

    shown = [crop for crop in crops if crop.lesion.sum() > 100]

    assert len(shown) >= 4  # half of them look at the other side, where the mirror image has it
    for crop in shown:
        inside = crop.lesion[0] > 0
        assert crop.fields[0][inside].mean() > crop.fields[0][~inside].mean() + 1


def test_positions_are_those_of_the_atlas_within_the_registration_error(ball: TrainingHead) -> None:
    crop = make_crop(ball, np.random.default_rng(5), has_lesion=False)
    distance, _, superior = crop.fields[2:].numpy() * 100

    assert distance.min() >= 0
    # the first axis runs upwards, 2 mm a voxel before the crop is stretched
    assert 1.6 < np.diff(superior, axis=0).mean() < 2.4


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_differs_from_what_was_there_and_from_its_mirror_image(seed: int) -> None:
    nothing = np.zeros(PATCH, dtype=np.float32)
    canvas = Canvas(nothing.copy(), nothing.copy(), nothing - 20)

    lesion = draw_lesion(canvas, (20.0, 20.0, 20.0), np.random.default_rng(seed))

    assert lesion[18:23, 18:23, 18:23].any()
    assert np.abs(canvas.side[lesion]).mean() > 0.05
    assert not canvas.mirror.any()


def test_distractors_change_the_image_and_are_no_lesion() -> None:
    rng = np.random.default_rng(6)
    canvas = Canvas(*(np.zeros(PATCH, dtype=np.float32) for _ in range(2)), np.full(PATCH, -20, dtype=np.float32))

    for _ in range(8):
        draw_distractors(canvas, rng)

    assert canvas.side.any()
    assert canvas.mirror.any()
