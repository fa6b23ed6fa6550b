"""Masked Channel Attention sees the lesion, however small, and nothing where there is none."""

import torch

from vb_node.models.mca import MaskedChannelAttention, masked_mean, soft_mask


def test_a_lesion_smaller_than_a_cell_still_counts() -> None:
    mask = torch.zeros(1, 1, 32, 32, 32)
    mask[0, 0, 9, 20, 13] = 1

    share = soft_mask(mask, (2, 2, 2))

    assert share[0, 0, 0, 1, 0] > 0
    assert int((share > 0).sum()) == 1


def test_only_the_lesion_speaks() -> None:
    features = torch.randn(1, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 4, 4, 4)
    mask[0, 0, 1, 2, 3] = 0.01

    assert torch.allclose(masked_mean(features, mask)[0], features[0, :, 1, 2, 3], atol=1e-5)


def test_an_empty_mask_falls_back_to_the_whole_map() -> None:
    features = torch.randn(2, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(masked_mean(features, torch.zeros(2, 1, 4, 4, 4)), features.mean(dim=(2, 3, 4)))


def test_global_pooling_is_the_gated_map_averaged() -> None:
    features = torch.randn(1, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    attend = MaskedChannelAttention(8, tumor_pool="global")

    weight = attend.gate(masked_mean(features, mask))
    gated = features * weight[:, :, None, None, None]

    assert torch.allclose(attend(features, mask), gated.mean(dim=(2, 3, 4)), atol=1e-6)


def test_masked_pooling_is_the_gated_map_averaged_in_the_lesion() -> None:
    features = torch.randn(1, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    attend = MaskedChannelAttention(8, tumor_pool="masked")

    weight = attend.gate(masked_mean(features, mask))
    gated = features * weight[:, :, None, None, None]

    assert torch.allclose(attend(features, mask), masked_mean(gated, mask), atol=1e-6)
