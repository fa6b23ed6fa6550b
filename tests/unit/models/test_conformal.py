"""The classes of which the true one is, in a stated share of cases."""

import pytest
import torch

from vb_node.models.conformal import Conformal

SHARES = {"Glioma": 0.3, "PCNSL": 0.6, "Germinoma": 0.1}


def test_the_set_holds_the_true_class_in_the_stated_share_of_cases() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.softmax(2 * torch.randn(4000, 4, generator=generator), dim=1)
    target = torch.multinomial(probability, 1, generator=generator)[:, 0]

    conformal = Conformal.of(probability[:2000], target[:2000])

    own = probability[2000:].gather(1, target[2000:, None])
    assert float((own >= conformal.least_probability).float().mean()) == pytest.approx(0.9, abs=0.02)


def test_too_few_cases_leave_every_class_in_the_set() -> None:
    conformal = Conformal.of(torch.eye(4)[:3], torch.tensor([0, 1, 2]))

    assert conformal.choose(SHARES) == ("PCNSL", "Glioma", "Germinoma")


@pytest.mark.parametrize(
    ("least", "chosen"),
    [(0.0, ("PCNSL", "Glioma", "Germinoma")), (0.3, ("PCNSL", "Glioma")), (0.5, ("PCNSL",)), (0.7, ())],
)
def test_the_set_holds_what_is_as_probable_as_a_true_class_is(least: float, chosen: tuple[str, ...]) -> None:
    assert Conformal(0.9, least, 100).choose(SHARES) == chosen
