"""What a look at one thing gave."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vb_node.config import Settings

GOOD, DOUBTFUL, WRONG = "good", "doubtful", "wrong"


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is good, what was found, and what to do where it is not."""

    about: str
    state: str
    found: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]
