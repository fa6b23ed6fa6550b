"""Where the frames of a multi-frame result stand in its source: by the result's own attributes and nothing else."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vb_node.dicom.frames import look_up, places_of
from vb_node.types import Grid, Labels, Matrix, Plane, Series

# Positions and spacings are copied digit by digit: this is far above rounding and far below a voxel.
OFF_MM = 1e-3


def locate(result: Dataset, series: Series) -> tuple[list[str], NDArray[np.intp] | None]:
    """Find the slice of the source that each frame stands on; None where the frames cannot stand on its slices.

    Beside it stands every fault of size, orientation, spacing, position and reference.
    """
    if (result.Rows, result.Columns) != series.grid.shape[1:]:
        return [f"{result.Rows} x {result.Columns} pixels, expected {series.grid.shape[1:]}"], None
    faults = [] if _is_same_plane(result, series.grid) else ["orientation or spacing is not the source's"]
    frames = result.PerFrameFunctionalGroupsSequence
    positions = np.array([frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames], dtype=np.float64)
    distances_mm = np.linalg.norm(positions[:, None] - _source_positions(series)[None], axis=2)
    off_mm = float(distances_mm.min(axis=1).max())
    if off_mm > OFF_MM:
        return [*faults, f"a frame stands {off_mm:.3f} mm from the nearest slice of the source"], None
    if int(result.NumberOfFrames) != len(frames):
        return [*faults, f"states {result.NumberOfFrames} frames and places {len(frames)}"], None
    slices = distances_mm.argmin(axis=1)
    return [*faults, *_references(result, series, slices)], slices


def rebuilt(segmentation: Dataset, slices: NDArray[np.intp], shape: tuple[int, ...]) -> Labels:
    """Unpack the one-bit frames, which run on without a gap (PS3.5 8.1.1), into a volume of segment numbers.

    ``slices`` holds the slice that each frame stands on; a frame at -1 is left out.
    """
    volume = np.zeros(shape, np.uint8)
    size = shape[1] * shape[2]
    bits = np.unpackbits(np.frombuffer(segmentation.PixelData, np.uint8), bitorder="little")[: size * len(slices)]
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for k, frame, plane in zip(
        slices, segmentation.PerFrameFunctionalGroupsSequence, bits.reshape(-1, *shape[1:]), strict=True
    ):
        holder = frame if "SegmentIdentificationSequence" in frame else shared
        if k >= 0:
            volume[k][plane == 1] = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return volume


def _references(result: Dataset, series: Series, slices: NDArray[np.intp]) -> Iterator[str]:
    frames = result.PerFrameFunctionalGroupsSequence
    if any(_behind(frame) != series.planes[k] for frame, k in zip(frames, slices, strict=True)):
        yield "a frame refers to another slice than the one it stands on"


def _source_positions(series: Series) -> Matrix:
    places = {str(header.SOPInstanceUID): places_of(header) for header in series.headers}
    frames = [places[plane.sop_instance_uid][(plane.frame_number or 1) - 1] for plane in series.planes]
    return np.array(
        [look_up(frame, "PlanePositionSequence", "ImagePositionPatient") for frame in frames], dtype=np.float64
    )


def _is_same_plane(result: Dataset, grid: Grid) -> bool:
    shared = result.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64)
    along_i, along_j = orientation.reshape(2, 3)
    measures = shared.PixelMeasuresSequence[0]
    row_mm, column_mm = (float(mm) for mm in measures.PixelSpacing)
    stated = np.column_stack([along_j * row_mm, along_i * column_mm])
    has_step = abs(float(measures.get("SpacingBetweenSlices") or 0) - grid.spacing_mm[0]) < OFF_MM
    return has_step and np.allclose(stated, grid.affine_lps[:3, 1:3], atol=OFF_MM)


def _behind(frame: Dataset) -> Plane:
    reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
    number = reference.get("ReferencedFrameNumber")
    return Plane(str(reference.ReferencedSOPInstanceUID), None if number is None else int(number))
