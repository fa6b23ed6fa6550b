"""Augmentation changes what a localiser gets wrong, and nothing else."""

import torch

from vb_node.training.augment import as_found, augment, spoil, spoil_lesion
from vb_node.training.dataset import Sample


def a_lesion() -> torch.Tensor:
    lesion = torch.zeros(1, 24, 24, 24)
    lesion[:, 8:14, 8:14, 8:14] = 1
    return lesion


def test_a_spoiled_mask_still_mostly_covers_its_lesion() -> None:
    generator = torch.Generator().manual_seed(0)
    lesion = a_lesion()

    spoiled = [spoil_lesion(lesion, generator) for _ in range(60)]

    kept = [one for one in spoiled if one.any()]
    covered = [float((one * lesion).sum() / lesion.sum()) for one in kept]
    assert 45 <= len(kept) < 60
    assert sum(covered) / len(covered) > 0.6


def test_a_mask_that_a_localizer_found_gets_no_faults_drawn_and_the_others_get_their_own() -> None:
    drawn = Sample(torch.zeros(1, 24, 24, 24), a_lesion(), 0)
    found = Sample(torch.zeros(1, 24, 24, 24), a_lesion(), 0, is_found=True)

    seen = as_found([drawn, found, drawn], seed=3)

    spoiled = spoil([drawn, drawn], seed=3)
    assert seen[1] is found
    assert all(torch.equal(one.lesion, other.lesion) for one, other in zip(seen[::2], spoiled, strict=True))
    assert not torch.equal(seen[0].lesion, drawn.lesion)


def test_a_lesion_of_one_cell_is_not_lost() -> None:
    generator = torch.Generator().manual_seed(1)
    lesion = torch.zeros(1, 24, 24, 24)
    lesion[0, 12, 12, 12] = 1

    spoiled = [spoil_lesion(lesion, generator) for _ in range(60)]

    assert sum(bool(one.any()) for one in spoiled) >= 45


def test_image_and_mask_are_mirrored_together() -> None:
    image = torch.zeros(1, 1, 24, 24, 24)
    image[0, 0, :, :, 6:14] = 2
    lesion = a_lesion()[None]

    outcomes = [augment(image, lesion, torch.Generator().manual_seed(seed)) for seed in range(20)]

    sides = {(bool(im[..., 6].any()), bool(im[..., 17].any())) for im, _ in outcomes}
    assert len(sides) == 2
    for changed, mask in outcomes:
        inside = changed[mask > 0]
        assert inside.numel() == 0 or float((inside > 1).float().mean()) > 0.5


def test_the_background_stays_empty() -> None:
    image = torch.zeros(1, 1, 24, 24, 24)

    changed, _ = augment(image, a_lesion()[None], torch.Generator().manual_seed(3))

    assert not changed.any()
