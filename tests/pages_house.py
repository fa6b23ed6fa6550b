"""What the pages are looked at with: a study that ends quickly, with a report that says why."""

from collections.abc import Sequence

from factories import affine, head, mr_series
from pydicom import Dataset
from pydicom.uid import generate_uid

HOSTILE = '<img src=x onerror="document.title=7">'
ORDER = {"AccessionNumber": "A123", "PatientID": HOSTILE}
T1CE = ORDER | {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd"}
PLAIN = ORDER | {"SeriesDescription": "AX T2 <script>document.title=1</script>"}


def studies() -> Sequence[Dataset]:
    """Make a slab with contrast, too thin for a head, and one without contrast beside it."""
    study = generate_uid()
    grid = affine((3.0, 2.0, 2.0))
    taken = mr_series(head((20, 40, 40)), grid, StudyInstanceUID=study, **T1CE)
    left = mr_series(head((20, 40, 40)), grid, StudyInstanceUID=study, **PLAIN)
    return [*taken, *left]
