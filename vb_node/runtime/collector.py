"""Python's garbage collector, asked less often. Nothing slow is imported here: it comes before what is."""

import gc

# New objects between two looks for cycles. Imports and data sets make very many and hardly a cycle: of a start, and of
# work on DICOM, a fifth was spent on Python's 700 (docs/benchmarks.md).
BETWEEN_LOOKS = 10_000


def relax() -> None:
    """Look for cycles less often in this process."""
    gc.set_threshold(BETWEEN_LOOKS)
