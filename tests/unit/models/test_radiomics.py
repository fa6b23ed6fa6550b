"""A lesion's features say what is drawn, know no side, and tell kinds of lesions apart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vb_node.models.diagnoser import NETWORK_SHAPE, PREFIX, DiagnoserNetwork
from vb_node.models.radiomics import COUNT, PERCENTILES, Radiomics, radiomics
from vb_node.models.weights import Weights

MIDDLE = np.array([40, 48, 30])


def head(radius_cells: float = 5, core: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Give a noisy head with a ball of 2, whose inner half is ``core``."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.1 * torch.randn(1, 1, *NETWORK_SHAPE, generator=generator)
    away = torch.from_numpy(np.linalg.norm(np.indices(NETWORK_SHAPE) - MIDDLE[:, None, None, None], axis=0))
    image[0, 0][away < radius_cells] += 2.0
    image[0, 0][away < radius_cells / 2] += core - 2.0
    return image, (away < radius_cells).float()[None, None]


def test_brightness_volume_radius_and_place_are_those_of_the_lesion() -> None:
    image, mask = head(radius_cells=6)

    features = radiomics(image, mask)[0]

    after = len(PERCENTILES)
    log_volume, radius_mm, _, parts = features[after + 1 : after + 5].tolist()
    assert features.shape == (COUNT,)
    assert float(features[PERCENTILES.index(50)]) == pytest.approx(2, abs=0.05)
    assert np.exp(log_volume) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.1)
    assert radius_mm == pytest.approx(12, abs=1.5)
    assert parts == 1
    assert features[-3:].tolist() == pytest.approx([0.006, 0.005, 0.119], abs=0.002)


def test_a_head_and_its_mirror_image_have_the_same_features() -> None:
    image, mask = head(core=-1)

    there, here = radiomics(image.flip(-1), mask.flip(-1)), radiomics(image, mask)

    assert torch.allclose(there, here, atol=1e-4)


def test_a_lesion_of_less_than_half_a_cell_has_features_and_an_empty_mask_has_none() -> None:
    image, mask = head()
    tiny = torch.zeros_like(mask)
    tiny[0, 0, 40, 48, 30] = 0.3

    fitted = Radiomics(2)
    fitted.fit(torch.randn(8, COUNT), torch.tensor([0, 1] * 4))

    assert torch.isfinite(radiomics(image, tiny)).all()
    assert fitted(image, tiny).abs().sum() > 0
    assert fitted(image, torch.zeros_like(mask)).abs().sum() == 0


def test_rings_are_told_from_solid_lesions_that_were_never_seen() -> None:
    def drawn(first: int) -> Tensor:
        return torch.cat(
            [radiomics(*head(4 + seed % 3, (2.0, -1.0)[seed % 2], seed)) for seed in range(first, first + 8)]
        )

    known, unseen, target = drawn(0), drawn(8), torch.tensor([0, 1] * 4)
    fitted = Radiomics(2)

    fitted.fit(known, target)

    ring = head(5, -1.0, 99)
    assert fitted(*ring).argmax() == 1
    assert fitted._standardised(unseen).abs().max() <= 4
    assert torch.equal(
        torch.nn.functional.linear(fitted._standardised(unseen), fitted.weight, fitted.bias).argmax(1), target
    )


def test_the_answer_is_the_networks_and_the_radiomics_together_and_the_baselines_is_the_networks_alone() -> None:
    torch.manual_seed(0)
    network, baseline = DiagnoserNetwork(2).eval(), DiagnoserNetwork(2, fusion="gap").eval()
    image, mask = head()
    features = torch.cat([radiomics(*head(seed=seed)) for seed in range(4)])

    def answers() -> list[Tensor]:
        with torch.no_grad():
            return [one.answer(image, mask)[0] for one in (network, baseline)]

    before, baseline_before = answers()
    for one in (network, baseline):
        one.radiomics.fit(features, torch.tensor([0, 1] * 2))
    after, baseline_after = answers()
    added = network.radiomics(image, mask)

    assert torch.allclose(after, before + added)
    assert added.abs().sum() > 0
    assert torch.equal(baseline_before, baseline_after)


def test_weights_of_before_there_were_radiomics_say_what_they_said() -> None:
    torch.manual_seed(0)
    network = DiagnoserNetwork(2).eval()
    own = {f"{PREFIX}{name}": one for name, one in network.state_dict().items() if "radiomics" not in name}
    image, mask = head()

    opened = DiagnoserNetwork.of(Weights(own, {"classes": ["Glioma", "Rare"]}, "ab" * 32)).eval()

    with torch.inference_mode():
        assert torch.equal(opened.answer(image, mask)[0], network.answer(image, mask)[0])
