"""Conformal sets: the classes of which the true one is, in a stated share of cases.

Split conformal prediction (Vovk et al., 2005; Sadinle et al., JASA 2019): the share holds for cases that are
exchangeable with those on which the threshold was set, on average over such sets of cases.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

COVERAGE = 0.9


@dataclass(frozen=True)
class Conformal:
    """Every class of at least ``least_probability`` is in the set, which then holds the true one in ``coverage``.

    It was set on ``cases`` cases.
    """

    coverage: float
    least_probability: float
    cases: int

    @classmethod
    def of(cls, probability: Tensor, target: Tensor, coverage: float = COVERAGE) -> "Conformal":
        """Set the threshold by probabilities (n, classes) of held-out cases and their classes (n).

        With too few cases for the coverage every class is in every set.
        """
        cases = len(target)
        rank = math.ceil((cases + 1) * coverage)
        if rank > cases:
            return cls(coverage, 0.0, cases)
        # the rank-th smallest of 1 - p is 1 - the rank-th largest of p
        own = probability.gather(1, target[:, None])[:, 0].sort(descending=True).values
        return cls(coverage, float(own[rank - 1]), cases)

    def choose(self, probabilities: Mapping[str, float]) -> tuple[str, ...]:
        """Give the classes of the set, most probable first; none where no class is as probable as a true one is."""
        ranked = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
        return tuple(name for name in ranked if probabilities[name] >= self.least_probability)
