"""Plain figures of a brain's appearance: finite for anything, and moved by what they name."""

import torch

from vb_node.models.appearance import Anatomy, describe


def brains(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = torch.randn(1, 1, 20, 24, 20, generator=generator)
    return shape + 0.1 * torch.randn(count, 1, 20, 24, 20, generator=generator)


def test_an_empty_or_constant_brain_is_still_described_in_numbers() -> None:
    empty, constant = torch.zeros(1, 1, 20, 24, 20), torch.ones(1, 1, 20, 24, 20)

    described = describe(torch.cat([empty, constant]), Anatomy.fit(brains(6)))

    assert described.shape[0] == 2
    assert torch.isfinite(described).all()


def test_noise_in_a_brain_changes_its_sharpness() -> None:
    smooth = torch.linspace(1, 3, 20).expand(1, 1, 20, 24, 20)
    rough = smooth + 0.3 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    anatomy = Anatomy.fit(brains(6))

    first, second = describe(smooth, anatomy)[0], describe(rough, anatomy)[0]

    assert (second[9:21] > first[9:21]).all()


def test_another_anatomy_lies_farther_outside_than_the_known() -> None:
    known = brains(8)
    other = torch.randn(1, 1, 20, 24, 20, generator=torch.Generator().manual_seed(2))
    anatomy = Anatomy.fit(known[:6])

    outside = anatomy.compare(torch.cat([known[6:], other]))[:, -1]

    assert outside[2] > outside[:2].max() + 0.5
