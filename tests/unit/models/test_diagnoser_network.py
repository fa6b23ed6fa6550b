"""The network's input keeps image and mask together, and its two forms differ in one thing."""

import numpy as np
import pytest
import torch

from vb_node.models.diagnoser import NETWORK_SHAPE, DiagnoserNetwork, network_grid, network_input
from vb_node.types import Grid, Prior, StandardVolume


def a_case(shape: tuple[int, int, int], step_mm: float, at: tuple[int, int, int]) -> tuple[StandardVolume, Prior]:
    voxels, labels = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    brain = np.zeros(shape, dtype=np.bool_)
    brain[10:-10, 10:-10, 10:-10] = True
    voxels[at], labels[at] = 4, 2
    affine = np.eye(4)[:, [2, 1, 0, 3]] * [step_mm, step_mm, step_mm, 1]
    standard = StandardVolume(voxels, Grid(shape, affine, "1.2"), brain, np.eye(4))
    return standard, Prior(labels.astype(np.float32), labels, (), 1.0, "localised")


@pytest.mark.parametrize("at", [(30, 40, 50), (100, 120, 90), (15, 20, 130)])
@pytest.mark.parametrize("step_mm", [1.0, 2.0])
def test_a_voxel_and_its_label_travel_together(at: tuple[int, int, int], step_mm: float) -> None:
    image, lesion = network_input(*a_case((150, 170, 145), step_mm, at))

    assert image.shape == lesion.shape == (1, 1, *NETWORK_SHAPE)
    assert torch.equal(image > 0, lesion > 0)


@pytest.mark.parametrize("at", [(60, 70, 80), (80, 90, 65), (85, 75, 72)])
@pytest.mark.parametrize("step_mm", [1.0, 2.0])
def test_a_cell_stands_where_its_voxels_stand(at: tuple[int, int, int], step_mm: float) -> None:
    standard, prior = a_case((150, 170, 145), step_mm, at)
    image, _ = network_input(standard, prior)
    cell = np.argwhere(image[0, 0].numpy() > 0)

    stands = network_grid(standard).to_lps(cell)[0]

    assert np.abs(stands - standard.grid.to_lps(np.array([at]))[0]).max() <= (2.0 - step_mm) / 2


def test_a_label_in_a_millimetre_grid_keeps_its_share_of_the_cell() -> None:
    _, lesion = network_input(*a_case((150, 170, 145), 1.0, (60, 70, 80)))

    assert float(lesion.sum()) == pytest.approx(1 / 8)


def test_a_head_larger_than_the_box_is_cut_and_a_smaller_one_padded() -> None:
    for shape in ((220, 260, 230), (60, 70, 64)):
        image, _ = network_input(*a_case(shape, 1.0, (30, 30, 30)))

        assert image.shape == (1, 1, *NETWORK_SHAPE)


def test_the_mask_changes_the_answer_with_attention_and_not_without() -> None:
    image = torch.randn(1, 1, *NETWORK_SHAPE, generator=torch.Generator().manual_seed(0))
    lesion = torch.zeros_like(image)
    lesion[..., 20:30, 20:30, 20:30] = 1
    with_mca, without = (DiagnoserNetwork(4, fusion=fusion).eval() for fusion in ("mca", "gap"))

    with torch.inference_mode():
        moved = [network(image, lesion)[0] - network(image, lesion.flip(-1))[0] for network in (with_mca, without)]

    assert moved[0].abs().max() > 0
    assert moved[1].abs().max() == 0
