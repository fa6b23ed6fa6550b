"""What every vision-language model has in common: it is shown pictures, is asked about each, and answers in text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Question:
    """A picture (rows, columns, 3) and what is asked about it. Nothing else reaches a model: no word of a header."""

    picture: Pixels
    system: str
    user: str


class VisionLanguageModel(Protocol):
    """A model, here or behind a URL.

    It takes ``batch`` questions at once, and pictures whose sides are multiples of ``step_px`` without resizing them.
    """

    @property
    def batch(self) -> int: ...

    @property
    def step_px(self) -> int: ...

    def ask(self, questions: Sequence[Question]) -> list[str]:
        """Answer at most ``batch`` questions, each in its place."""
        ...
