"""The phantom as DICOM: a study of a T1 series after contrast agent, a T2-like series and a localizer.

Classic MR Image Storage (PS3.3 A.4). Every UID is derived from the seed and the object's role, so a case written twice
is the same study.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from vb_node.types import Floats, Grid, Volume

Stored = NDArray[np.uint16]


class Case(Protocol):
    """What a phantom case must offer to be written."""

    @property
    def seed(self) -> int: ...
    @property
    def volume(self) -> Volume: ...
    @property
    def acquisition(self) -> str: ...


@dataclass(frozen=True)
class _Protocol:
    """How one series is named and was acquired."""

    number: int
    description: str
    image_type: tuple[str, ...]
    sequence: tuple[str, list[str]]
    repetition_time: float
    echo_time: float
    agent: str | None = None


_IMAGE = ("ORIGINAL", "PRIMARY", "OTHER")
_T1CE = _Protocol(
    3, "T1 MPRAGE 3D +C", ("ORIGINAL", "PRIMARY", "OTHER"), ("GR", ["SP", "MP"]), 2000.0, 2.5, "gadobutrol"
)
_T1CE_THICK = _Protocol(3, "T1 SE TRA +C", _IMAGE, ("SE", ["NONE"]), 550.0, 12.0, "gadobutrol")
_T2 = _Protocol(2, "T2 TSE", _IMAGE, ("SE", ["SK"]), 4500.0, 98.0)
_LOCALIZER = _Protocol(1, "localizer", ("ORIGINAL", "PRIMARY", "LOCALIZER"), ("GR", ["SP"]), 8.0, 4.0)


def write_study(case: Case, folder: Path) -> list[Path]:
    """Write the three series of one study; give the files."""
    return [*_write_localizer(case, folder), *_write_companion(case, folder), *write_dicom(case, folder)]


def write_dicom(case: Case, folder: Path) -> list[Path]:
    """Write the T1 series after contrast agent; give the files in slice order."""
    protocol = _T1CE_THICK if case.acquisition == "thick" else _T1CE
    return _write_slices(case, protocol, _stored(case.volume.voxels), case.volume.grid, folder)


def _write_companion(case: Case, folder: Path) -> list[Path]:
    """Write every second slice with its signal inverted within the head: bright CSF, dark fat and vessels, like T2."""
    voxels, grid = case.volume.voxels[::2], case.volume.grid
    white = float(np.percentile(voxels, 90))
    inverted = np.where(voxels > 0.12 * white, (1.6 * white - voxels).clip(0.02 * white), voxels)
    affine = grid.affine_lps.copy()
    affine[:, 0] *= 2
    k, j, i = voxels.shape
    coarse = Grid((k, j, i), affine, grid.frame_of_reference_uid)
    return _write_slices(case, _T2, _stored(inverted), coarse, folder)


def _write_localizer(case: Case, folder: Path) -> list[Path]:
    """Write one slice through the middle along each of the grid's planes."""
    paths = []
    for number, (depth, row, column) in enumerate(((0, 1, 2), (1, 0, 2), (2, 0, 1)), start=1):
        middle = case.volume.grid.shape[depth] // 2
        pixels = np.asarray(_stored(case.volume.voxels).take(middle, axis=depth))
        rows, columns = pixels.shape
        affine = case.volume.grid.affine_lps[:, [depth, row, column, 3]].copy()
        affine[:, 3] += middle * affine[:, 0]
        grid = Grid((1, rows, columns), affine, case.volume.grid.frame_of_reference_uid)
        paths.append(_write_slice(case, _LOCALIZER, pixels, (grid, 0, number), folder))
    return paths


def _write_slices(case: Case, protocol: _Protocol, stored: Stored, grid: Grid, folder: Path) -> list[Path]:
    return [_write_slice(case, protocol, pixels, (grid, k, k + 1), folder) for k, pixels in enumerate(stored)]


def _write_slice(case: Case, protocol: _Protocol, pixels: Stored, place: tuple[Grid, int, int], folder: Path) -> Path:
    """Write one instance; ``place`` is its grid, its slice there and its instance number."""
    grid, k, instance_number = place
    uid = _uid_of(case.seed)
    instance = Dataset()
    _add_patient_and_study(instance, case.seed, uid)
    _add_series(instance, protocol, uid)
    instance.SOPClassUID = MRImageStorage
    instance.SOPInstanceUID = uid(f"instance {protocol.number} {instance_number}")
    instance.InstanceNumber = instance_number
    _add_plane(instance, grid, k)
    _add_pixels(instance, pixels)
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.MediaStorageSOPClassUID = MRImageStorage
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    path = folder / f"{protocol.number:03d}-{instance_number:04d}.dcm"
    instance.save_as(path, enforce_file_format=True)
    return path


def _uid_of(seed: int) -> Callable[[str], str]:
    """Derive UIDs from the seed and a role, below 2.25 (PS3.5 B.2)."""

    def uid(role: str) -> str:
        digest = sha256(f"vb-node phantom {seed} {role}".encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    return uid


def frame_of_reference_uid(seed: int) -> str:
    """Give the frame of reference in which all of a phantom's series stand."""
    return _uid_of(seed)("frame of reference")


def _add_patient_and_study(instance: Dataset, seed: int, uid: Callable[[str], str]) -> None:
    instance.PatientName = f"PHANTOM^{seed:06d}"
    instance.PatientID = f"PHANTOM-{seed:06d}"
    instance.PatientBirthDate = ""
    instance.PatientSex = "O"
    instance.StudyInstanceUID = uid("study")
    instance.StudyID = "1"
    instance.StudyDate = instance.SeriesDate = instance.AcquisitionDate = instance.ContentDate = "20260101"
    instance.StudyTime = "080000"
    instance.AccessionNumber = f"P{seed:06d}"
    instance.ReferringPhysicianName = ""
    instance.StudyDescription = "PHANTOM BRAIN"


def _add_series(instance: Dataset, protocol: _Protocol, uid: Callable[[str], str]) -> None:
    """Add what PS3.3 C.7.3.1, C.7.5.1, C.7.6.4 and C.8.3.1 ask of the series."""
    instance.Modality = "MR"
    instance.SeriesInstanceUID = uid(f"series {protocol.number}")
    instance.SeriesNumber = protocol.number
    instance.SeriesTime = instance.AcquisitionTime = instance.ContentTime = f"08{protocol.number * 10:02d}00"
    instance.SeriesDescription = instance.ProtocolName = protocol.description
    instance.BodyPartExamined = "BRAIN"
    instance.PatientPosition = "HFS"
    instance.Manufacturer = "VB-NODE"
    instance.ManufacturerModelName = "phantom"
    instance.ImageType = list(protocol.image_type)
    instance.ScanningSequence, instance.SequenceVariant = protocol.sequence[0], protocol.sequence[1]
    instance.ScanOptions = ""
    instance.MRAcquisitionType = "3D" if "3D" in protocol.description else "2D"
    instance.RepetitionTime, instance.EchoTime = protocol.repetition_time, protocol.echo_time
    instance.EchoTrainLength = 1
    instance.MagneticFieldStrength = 3.0
    if protocol.agent:
        instance.ContrastBolusAgent = protocol.agent


def _add_plane(instance: Dataset, grid: Grid, k: int) -> None:
    """Place slice ``k`` of a grid in the patient (PS3.3 C.7.6.2)."""
    slice_mm, row_mm, column_mm = grid.spacing_mm
    along_row = grid.affine_lps[:3, 2] / column_mm
    along_column = grid.affine_lps[:3, 1] / row_mm
    instance.FrameOfReferenceUID = grid.frame_of_reference_uid
    instance.PositionReferenceIndicator = ""
    instance.ImagePositionPatient = [round(float(x), 6) for x in grid.to_lps(np.array([[k, 0, 0]]))[0]]
    instance.ImageOrientationPatient = [round(float(x), 8) for x in (*along_row, *along_column)]
    instance.PixelSpacing = [round(row_mm, 8), round(column_mm, 8)]
    instance.SliceThickness = round(slice_mm, 6)
    instance.SpacingBetweenSlices = round(slice_mm, 6)


def _add_pixels(instance: Dataset, pixels: Stored) -> None:
    """Add the image pixel module (PS3.3 C.7.6.3) of 12 bits in 16."""
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.Rows, instance.Columns = pixels.shape
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
    instance.PixelRepresentation = 0
    top = float(np.percentile(pixels, 99))
    instance.WindowCenter, instance.WindowWidth = round(top / 2), max(1, round(top))
    instance.PixelData = pixels.tobytes()


def _stored(voxels: Floats) -> Stored:
    return np.rint(voxels).clip(0, 4095).astype("<u2")
