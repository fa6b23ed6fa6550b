"""Headers -> frames: where each frame of a classic or an Enhanced instance stands (PS3.3 C.7.6.2, C.7.6.16)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydicom import Dataset

from vb_node.dicom.read import Instance, value
from vb_node.errors import BadGeometry
from vb_node.types import Matrix, Plane


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a series.

    ``position_lps`` (3,) is the centre of its first voxel in mm; ``cosines`` (2, 3) the directions of a row and of a
    column; ``places`` where its attributes may stand.
    """

    instance: Instance
    plane: Plane
    shape: tuple[int, int]
    position_lps: Matrix
    cosines: Matrix
    row_mm: float
    column_mm: float
    places: list[Dataset]

    @cached_property
    def normal(self) -> Matrix:
        normal = np.cross(self.cosines[0], self.cosines[1])
        return np.asarray(normal / np.linalg.norm(normal))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What may tell the volumes of one series apart."""
        echo_time = look_up(self.places, "MREchoSequence", "EffectiveEchoTime")
        temporal_position = look_up(self.places, "FrameContentSequence", "TemporalPositionIndex")
        found = {
            "echo time": echo_time or look_up(self.places, None, "EchoTime"),
            "temporal position": temporal_position or look_up(self.places, None, "TemporalPositionIdentifier"),
            "stack": look_up(self.places, "FrameContentSequence", "StackID"),
            "b-value": look_up(self.places, "MRDiffusionSequence", "DiffusionBValue"),
            "component": _component(self.places),
        }
        return {name: str(kind) for name, kind in found.items() if kind is not None}


def frames_of(instance: Instance) -> Iterator[Frame]:
    """Give the frames of one instance in their own order.

    Raises
    ------
    BadGeometry
        Position, orientation or spacing is missing or no number, or the instance is a mosaic.
    """
    header = instance.header
    uid = str(header.SOPInstanceUID)
    if "MOSAIC" in _image_type(header):
        raise BadGeometry(f"instance {uid} is a Siemens mosaic, many slices in one frame: export it as single slices")
    places = places_of(header)
    if len(places) != number_of_frames(header):
        raise BadGeometry(f"instance {uid} has {number_of_frames(header)} frames and {len(places)} positions for them")
    is_multi_frame = "PerFrameFunctionalGroupsSequence" in header
    for number, place in enumerate(places, 1):
        yield _frame(instance, Plane(uid, number if is_multi_frame else None), place)


def number_of_frames(header: Dataset) -> int:
    """Say how many frames an instance has; a single-frame object does not say it.

    Raises
    ------
    BadGeometry
        NumberOfFrames is no number above 0.
    """
    try:
        number = int(value(header, "NumberOfFrames") or 1)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise BadGeometry(f"NumberOfFrames of instance {header.SOPInstanceUID} is no number") from error
    if number < 1:
        raise BadGeometry(f"NumberOfFrames of instance {header.SOPInstanceUID} is {number}: expected 1 or more")
    return number


def places_of(header: Dataset) -> list[list[Dataset]]:
    """Say for each frame where its attributes may stand: its own functional groups, the shared ones, the header."""
    shared = value(header, "SharedFunctionalGroupsSequence") or []
    own = value(header, "PerFrameFunctionalGroupsSequence") or []
    return [[group, *shared, header] for group in own] or [[header]]


def look_up(places: list[Dataset], sequence: str | None, keyword: str) -> Any:
    """Find an attribute in the first of its places that has it, inside ``sequence`` or bare."""
    for place in places:
        items = value(place, sequence) if sequence else None
        found = value(items[0] if items else place, keyword)
        if found is not None:
            return found
    return None


def _frame(instance: Instance, plane: Plane, places: list[Dataset]) -> Frame:
    row_mm, column_mm = _numbers(places, "PixelMeasuresSequence", "PixelSpacing", 2, plane)
    if min(row_mm, column_mm) <= 0:
        raise BadGeometry(f"PixelSpacing of {_name(plane)} is {row_mm}, {column_mm}: expected mm above 0")
    return Frame(
        instance,
        plane,
        (int(instance.header.Rows), int(instance.header.Columns)),
        _numbers(places, "PlanePositionSequence", "ImagePositionPatient", 3, plane),
        _cosines(_numbers(places, "PlaneOrientationSequence", "ImageOrientationPatient", 6, plane), plane),
        float(row_mm),
        float(column_mm),
        places,
    )


def _numbers(places: list[Dataset], sequence: str, keyword: str, count: int, plane: Plane) -> Matrix:
    try:
        numbers = np.array(look_up(places, sequence, keyword), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadGeometry(f"{keyword} of {_name(plane)} is missing or no number") from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise BadGeometry(f"{keyword} of {_name(plane)} is missing or damaged: expected {count} finite numbers")
    return numbers


def _cosines(orientation: Matrix, plane: Plane) -> Matrix:
    cosines = orientation.reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(cosines[0] @ cosines[1]) > 0.01:
        raise BadGeometry(f"ImageOrientationPatient of {_name(plane)} is not two perpendicular directions of length 1")
    return np.asarray(cosines / lengths[:, None])


def _component(places: list[Dataset]) -> str:
    """Say which complex image component a frame is (PS3.3 C.8.13.3.1.1; classic images say it in ImageType alone)."""
    said = look_up(places, "MRImageFrameTypeSequence", "ComplexImageComponent")
    if said:
        return str(said)
    frame_type = look_up(places, "MRImageFrameTypeSequence", "FrameType")
    words = [str(word) for word in frame_type] if frame_type else _image_type(places[-1])
    signs = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
    return next((signs[word] for word in words[2:] if word in signs), "MAGNITUDE")


def _image_type(header: Dataset) -> list[str]:
    words = value(header, "ImageType") or []
    return [words] if isinstance(words, str) else [str(word) for word in words]


def _name(plane: Plane) -> str:
    frame = "" if plane.frame_number is None else f" frame {plane.frame_number}"
    return f"instance {plane.sop_instance_uid}{frame}"
