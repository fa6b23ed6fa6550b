"""Instances -> one ordered series: by position along the normal, or a refusal that says what is wrong and where.

File names and InstanceNumber order nothing. The step between slices is measured from the first to the last position;
SliceThickness is not spacing (PS3.3 C.7.6.2.1.1).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vb_node.dicom.frames import Frame, frames_of
from vb_node.dicom.read import Instance, read_instances, value
from vb_node.errors import (
    BadGeometry,
    DuplicatedPositions,
    MissingSlices,
    MixedOrientations,
    NoFrameOfReference,
    TooFewSlices,
)
from vb_node.types import Grid, Matrix, Series

MIN_SLICES = 16
# Direction cosines of one series differ by rounding up to about 1e-4; at 1e-3 a corner of a head moves by 0.2 mm.
SAME_DIRECTION = 1e-3
SAME_PLACE_MM = 0.01
# How far a plane may stand from its place in an even, upright stack: along the stack, and sideways.
OFF_STEP = 0.1
OFF_PIXEL = 0.5


def arrange(paths: Iterable[Path], min_slices: int = MIN_SLICES) -> Series:
    """Order the files of one series and check that they make one volume.

    Raises
    ------
    BadGeometry
        Or the kind of it that says what does not fit.
    """
    return arrange_instances(read_instances(paths), min_slices)


def arrange_instances(instances: Sequence[Instance], min_slices: int = MIN_SLICES) -> Series:
    """Order the instances of one series and check that they make one volume; the raw data among them are left out."""
    images = _images(instances)
    if not images:
        raise TooFewSlices(f"expected at least {min_slices} slices, came no image")
    _check_one(images, "SeriesInstanceUID")
    _check_one(images, "FrameOfReferenceUID")
    frames = [frame for instance in images for frame in frames_of(instance)]
    _check_alike(frames)
    frames = _one_volume(frames)
    if len(frames) < 2:
        raise TooFewSlices(f"expected at least {min_slices} slices, came {len(frames)}: send the whole series")
    grid = _grid(frames)
    _check_steps(frames)
    _check_upright(frames, grid)
    if len(frames) < min_slices:
        raise TooFewSlices(f"expected at least {min_slices} slices, came {len(frames)}: send the whole series")
    if not grid.frame_of_reference_uid:
        raise NoFrameOfReference("FrameOfReferenceUID is missing: nothing can be laid over the series (PS3.3 C.7.4.1)")
    return _series(frames, grid)


def _images(instances: Sequence[Instance]) -> list[Instance]:
    """Keep what has a matrix, once each: vendors put raw data and reports into an image series."""
    found = {
        str(instance.header.SOPInstanceUID): instance
        for instance in instances
        if all(isinstance(value(instance.header, keyword), int) for keyword in ("Rows", "Columns"))
    }
    return list(found.values())


def _check_one(images: Sequence[Instance], keyword: str) -> None:
    found = {str(value(instance.header, keyword) or "") for instance in images}
    if len(found) > 1:
        raise BadGeometry(f"expected one {keyword}, came {len(found)}: these slices do not belong to one volume")


def _check_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames:
        if np.abs(frame.cosines - first.cosines).max() > SAME_DIRECTION:
            raise MixedOrientations(
                f"planes look in different directions: {_count_directions(frames)} orientations among "
                f"{len(frames)} planes, expected one"
            )
        if frame.shape != first.shape:
            raise BadGeometry(f"slices of {_size(first)} and of {_size(frame)} pixels (rows x columns) in one series")
        if not np.allclose((frame.row_mm, frame.column_mm), (first.row_mm, first.column_mm), rtol=1e-3):
            raise BadGeometry(
                f"PixelSpacing differs within the series: {first.row_mm:g} x {first.column_mm:g} mm and "
                f"{frame.row_mm:g} x {frame.column_mm:g} mm"
            )


def _count_directions(frames: Sequence[Frame]) -> int:
    found: list[Matrix] = []
    for frame in frames:
        if all(np.abs(frame.cosines - other).max() > SAME_DIRECTION for other in found):
            found.append(frame.cosines)
    return len(found)


def _one_volume(frames: Sequence[Frame]) -> list[Frame]:
    """Order the frames along the normal; where places are taken twice, the magnitude alone may be one volume."""
    ordered = _ordered(frames)
    if not _taken_twice(ordered):
        return ordered
    magnitude = [frame for frame in ordered if frame.kinds["component"] == "MAGNITUDE"]
    if magnitude and not _taken_twice(magnitude):
        return magnitude
    left = magnitude or ordered
    raise DuplicatedPositions(
        f"{_taken_twice(left)} of {len(left)} planes stand where another one stands{_difference(left)}: "
        "send one volume a series"
    )


def _ordered(frames: Sequence[Frame]) -> list[Frame]:
    normal = frames[0].normal
    return sorted(frames, key=lambda frame: float(frame.position_lps @ normal))


def _taken_twice(ordered: Sequence[Frame]) -> int:
    return int((_steps(ordered) < SAME_PLACE_MM).sum())


def _steps(ordered: Sequence[Frame]) -> Matrix:
    return np.diff([frame.position_lps @ ordered[0].normal for frame in ordered])


def _difference(frames: Sequence[Frame]) -> str:
    """Say in what the volumes of one series differ, where the headers tell."""
    for name in ("echo time", "temporal position", "b-value", "stack", "component"):
        values = Counter(frame.kinds.get(name, "none") for frame in frames)
        if len(values) > 1:
            return f" (the series holds {len(values)} volumes by {name})"
    return ""


def _check_steps(frames: Sequence[Frame]) -> None:
    steps = _steps(frames)
    expected = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * expected)
    if wide.size:
        after = int(wide[0])
        missing = sum(round(float(steps[gap]) / expected) - 1 for gap in wide)
        gaps = f"{_counted(missing, 'slice')} missing in {_counted(wide.size, 'place')}"
        raise MissingSlices(
            f"{gaps}, the first after slice {after + 1} of {len(frames)}: "
            f"expected a step of {expected:.2f} mm, came {steps[after]:.2f} mm; send the whole series"
        )


def _grid(frames: Sequence[Frame]) -> Grid:
    first, last = frames[0], frames[-1]
    step_mm = float((last.position_lps - first.position_lps) @ first.normal) / (len(frames) - 1)
    along_i, along_j = first.cosines
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = np.column_stack([first.normal * step_mm, along_j * first.row_mm, along_i * first.column_mm])
    affine_lps[:3, 3] = first.position_lps
    frame_of_reference_uid = str(value(first.instance.header, "FrameOfReferenceUID") or "")
    return Grid((len(frames), *first.shape), affine_lps, frame_of_reference_uid)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _check_upright(frames: Sequence[Frame], grid: Grid) -> None:
    """Refuse a stack that is sheared (a tilted gantry) or uneven: its voxels would not stand where the grid says."""
    index = grid.to_index(np.array([frame.position_lps for frame in frames]))
    off = np.abs(index - np.column_stack([np.arange(len(frames)), *np.zeros((2, len(frames)))]))
    if off[:, 1:].max() > OFF_PIXEL:
        raise BadGeometry(
            f"the stack is sheared: slices are shifted by up to {off[:, 1:].max():.1f} pixels (gantry tilt)"
        )
    if off[:, 0].max() > OFF_STEP:
        worst = int(off[:, 0].argmax())
        raise BadGeometry(
            f"uneven steps: slice {worst + 1} of {len(frames)} stands {off[worst, 0] * grid.spacing_mm[0]:.2f} mm "
            f"from its place in steps of {grid.spacing_mm[0]:.2f} mm"
        )


def _series(frames: Sequence[Frame], grid: Grid) -> Series:
    instances = {frame.plane.sop_instance_uid: frame.instance for frame in frames}
    return Series(
        tuple(instance.header for instance in instances.values()),
        tuple(instance.path for instance in instances.values()),
        tuple(frame.plane for frame in frames),
        grid,
    )


def _size(frame: Frame) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"
