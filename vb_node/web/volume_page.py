"""The series of a job in three planes, drawn by NiiVue in the browser.

The volume and the prior go there as NIfTI: places and values alone, no word of the source's headers.
"""

import gzip
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from storage import jobs
from storage.schema import Job
from vb_node.dicom.nifti import image_of
from vb_node.dicom.volume import read_volume
from vb_node.errors import NodeError
from vb_node.types import Grid
from vb_node.web import users
from vb_node.web.paper import House, Paper
from vb_node.web.slices import Stack

MOST_VOXELS = 1 << 26
RAS_FROM_LPS = (-1.0, -1.0, 1.0)


class VolumePage:
    """Answers who wants to look around in a volume."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper
        self._one = threading.Lock()  # a volume at a time: each may take half a gigabyte

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/jobs/{job_id:int}/volume", self.page),
            Route("/jobs/{job_id:int}/volume.nii.gz", self.volume),
            Route("/jobs/{job_id:int}/prior.nii.gz", self.prior),
        ]

    def page(self, request: Request) -> Response:
        user = users.current(request)
        job, stack = self._open(request)
        at = " ".join(f"{value:.1f}" for value in centre_ras(stack))
        return self._paper.page(request, user, "volume", "/jobs", job=job, at=at, has_prior=bool(stack.labels.any()))

    def volume(self, request: Request) -> Response:
        user = users.current(request)
        job, stack = self._open(request)
        self._house.tell_look(user, job)
        with self._one:
            try:
                volume = read_volume(stack.series)
            except NodeError as error:
                raise HTTPException(404, str(error)) from error
            return _nifti(volume.voxels, volume.grid, np.int16)

    def prior(self, request: Request) -> Response:
        users.current(request)
        _, stack = self._open(request)
        return _nifti((stack.labels > 0).astype(np.uint8), stack.series.grid, np.uint8)

    def _open(self, request: Request) -> tuple[Job, Stack]:
        job_id = request.path_params["job_id"]
        with self._house.database.read() as session:
            job = jobs.find(session, job_id)
        if job is None:
            raise HTTPException(404, f"there is no job {job_id}")
        try:
            stack = self._house.slices.stack(job)
        except NodeError as error:
            raise HTTPException(404, str(error)) from error
        if np.prod(stack.series.grid.shape) > MOST_VOXELS:
            raise HTTPException(404, f"a volume of {MOST_VOXELS} voxels at most expected: look at its slices")
        return job, stack


def centre_ras(stack: Stack) -> NDArray[np.float64]:
    """Give the middle of the prior, or of the volume where there is none, in RAS mm."""
    inside = np.argwhere(stack.labels) if stack.labels.any() else np.array([stack.series.grid.shape]) / 2
    middle: NDArray[np.float64] = stack.series.grid.to_lps(inside.mean(axis=0, keepdims=True))[0] * RAS_FROM_LPS
    return middle


def _nifti(voxels: NDArray[Any], grid: Grid, kind: type[np.generic]) -> Response:
    image = image_of(voxels, grid)
    image.set_data_dtype(kind)
    headers = {"Cache-Control": "private, max-age=600"}
    return Response(gzip.compress(image.to_bytes(), 1), media_type="application/gzip", headers=headers)
