"""One slice of a job's series as a picture with the outline of the prior, for the page of the job.

Only uncompressed pixels are shown: codecs run where they can harm nobody, in a worker's cell.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from storage.schema import Job
from storage.spool import Spool
from vb_node.dicom.key_image import panel
from vb_node.dicom.pixels import is_compressed, read_frames
from vb_node.dicom.series import arrange
from vb_node.dicom.tracking import placed
from vb_node.errors import NodeError
from vb_node.types import Labels, Series

MOST_KEPT = 4
SEG_ROLE = "SEG"


class NotShown(NodeError):
    """The slices of this job cannot be shown here."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A series in slice order, and the segments of the job's result on its grid."""

    series: Series
    labels: Labels

    def __len__(self) -> int:
        return len(self.series.planes)

    @property
    def fullest(self) -> int:
        """The slice with most of the lesion; the middle one where there is none."""
        areas = np.count_nonzero(self.labels, axis=(1, 2))
        return int(areas.argmax()) if areas.any() else len(self) // 2


class Slices:
    """Gives pictures of the slices of jobs, and keeps the last few series open."""

    def __init__(self, spool: Spool, results: Path) -> None:
        self._spool, self._results = spool, results
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], Stack] = OrderedDict()

    def stack(self, job: Job) -> Stack:
        """Open the series of a job.

        Raises
        ------
        NodeError
            Its files are gone or make no volume, or its pixels are compressed.
        """
        key = job.id, job.token
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._open(job)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key]

    def _open(self, job: Job) -> Stack:
        paths = [self._spool.path_of(item.sop_instance_uid, item.sha256) for item in job.inputs]
        if not all(path.is_file() for path in paths):
            raise NotShown("the files of the series are no longer here: retention has let them go")
        series = arrange(paths)
        if is_compressed(series.headers[0]):
            raise NotShown("the pixels are compressed: see the key image in the archive")
        return Stack(series, self._labels(job, series))

    def _labels(self, job: Job, series: Series) -> Labels:
        path = next((self._results / result.path for result in job.results if result.role == SEG_ROLE), None)
        if path is not None:
            try:
                return placed(dcmread(path), series.grid)
            except (OSError, InvalidDicomError, AttributeError, LookupError, ValueError) as error:
                raise NotShown("the segmentation of this job cannot be read") from error
        return np.zeros(series.grid.shape, np.uint8)

    def picture(self, job: Job, k: int) -> bytes:
        """Draw slice ``k`` as PNG; raise ``NodeError``."""
        stack = self.stack(job)
        if not 0 <= k < len(stack):
            raise NotShown(f"slice 0 to {len(stack) - 1} expected, {k} came")
        series, plane = stack.series, stack.series.planes[k]
        uids = [str(header.SOPInstanceUID) for header in series.headers]
        at = uids.index(plane.sop_instance_uid)
        (values,) = read_frames(series.paths[at], series.headers[at], [plane.frame_number or 1])
        drawn = panel(values, stack.labels[k] > 0, series.grid, f"slice {k + 1} of {len(stack)}")
        buffer = BytesIO()
        Image.fromarray(drawn).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
