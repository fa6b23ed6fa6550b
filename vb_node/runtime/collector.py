"""Python's garbage collector, asked less often. Nothing slow is imported here: it comes before what is."""

import gc

# New objects between two looks for cycles. Imports and data sets make very many and hardly a cycle: with Python's 700 a
# fifth of a cell's start was spent on looking (docs/benchmarks.md).
BETWEEN_LOOKS = 10_000


def relax() -> None:
    """Look for cycles less often in this process."""
    gc.set_threshold(BETWEEN_LOOKS)


def settle() -> None:
    """Leave out of every later look what is there now: what is not looked at stays shared with a forked process."""
    gc.freeze()
