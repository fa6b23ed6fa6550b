"""One good report and its Segmentation, into which faults are seeded."""

from collections.abc import Callable

from pydicom.dataset import Dataset
from results import oblique, provenance, two_lesions, written

# What spoils a copy of the two.
Fault = Callable[[Dataset, Dataset], None]
SERIES, LABELS = oblique(), two_lesions()
REPORT, SEGMENTATION = written(SERIES, LABELS, provenance())
