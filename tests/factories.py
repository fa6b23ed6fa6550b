"""Builders of MR objects in memory: nothing here stands for a module of ours, it makes what a modality sends.

Voxels are indexed ``[k, j, i]`` and placed by the same ``affine_lps`` as ``vb_node.types.Grid``.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from vb_node.dicom import part10

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))


def affine(
    spacing_kji: Sequence[float] = (1.0, 1.0, 1.0),
    orientation: Sequence[Sequence[float]] = AXIAL,
    origin_lps: Sequence[float] = (0.0, 0.0, 0.0),
    slice_direction: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Make the map from (k, j, i) to LPS mm; ``orientation`` is the row and the column cosine (PS3.3 C.7.6.2.1.1)."""
    along_i, along_j = (np.asarray(cosine, float) for cosine in orientation)
    along_k = np.cross(along_i, along_j) if slice_direction is None else np.asarray(slice_direction, float)
    made = np.eye(4)
    made[:3, :3] = np.column_stack([along_k, along_j, along_i]) * np.asarray(spacing_kji, float)
    made[:3, 3] = origin_lps
    return made


def turned(degrees: float, orientation: Sequence[Sequence[float]] = AXIAL) -> NDArray[np.float64]:
    """Turn an orientation about the patient's x and z axes, for an oblique series."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(orientation, float) @ (about_z @ about_x).T


def mr_series(voxels: ArrayLike, affine_lps: NDArray[np.float64] | None = None, **attributes: Any) -> list[Dataset]:
    """Make a classic MR series, one instance a slice, in slice order.

    ``attributes`` go into every instance under their keyword; None takes the attribute away.
    """
    stack = _int16(voxels)
    placed = affine() if affine_lps is None else affine_lps
    series = _identity()
    return [_classic(plane, placed, k, series | attributes) for k, plane in enumerate(stack)]


def enhanced_mr(
    voxels: ArrayLike,
    affine_lps: NDArray[np.float64] | None = None,
    components: Sequence[str] = ("MAGNITUDE",),
    **attributes: Any,
) -> Dataset:
    """Make one Enhanced MR instance whose frames repeat the volume once for each complex image component."""
    stack = _int16(voxels)
    placed = affine() if affine_lps is None else affine_lps
    frames = [(component, k) for component in components for k in range(len(stack))]
    instance = _instance(EnhancedMRImageStorage, stack.shape[1:])
    instance.NumberOfFrames = len(frames)
    instance.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    instance.SharedFunctionalGroupsSequence = [_shared_groups(placed)]
    instance.PerFrameFunctionalGroupsSequence = [_frame_groups(placed, k, component) for component, k in frames]
    instance.PixelData = np.concatenate([stack] * len(components)).tobytes()
    return _set(instance, _identity() | attributes)


def data_set_of(path: Path) -> bytes:
    """Give the data set of a file as it is, without the file meta information (PS3.10 7.1)."""
    content = path.read_bytes()
    return content[part10.read(content[: part10.LONGEST_META]).start :]


def write(datasets: Iterable[Dataset], folder: Path, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> list[Path]:
    """Write instances under their SOP Instance UID, compressed where the transfer syntax says so."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        written = deepcopy(dataset)
        if UID(transfer_syntax_uid).is_encapsulated:
            written.compress(transfer_syntax_uid, generate_instance_uid=False)
        written.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        written.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def head(shape: tuple[int, int, int] = (24, 32, 32), seed: int = 0) -> NDArray[np.int16]:
    """Make a grey ellipsoid with noise and one bright off-centre ball, so that no two axes look the same."""
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    inside = (k / 0.9) ** 2 + (j / 0.8) ** 2 + (i / 0.7) ** 2 < 1
    ball = (k - 0.3) ** 2 + (j + 0.2) ** 2 + (i - 0.25) ** 2 < 0.03
    noise = np.random.default_rng(seed).normal(0, 15, shape)
    return np.asarray(np.clip(400 * inside + 300 * ball + noise, 0, 2000)).astype(np.int16)


def _int16(voxels: ArrayLike) -> NDArray[np.int16]:
    stack = np.asarray(voxels)
    assert stack.ndim == 3, f"voxels are [k, j, i], not {stack.ndim}-dimensional"
    return np.rint(stack).astype("<i2")


def _identity() -> dict[str, Any]:
    return {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
    }


def _instance(sop_class_uid: UID, plane_shape: Sequence[int]) -> Dataset:
    instance = Dataset()
    instance.SOPClassUID = sop_class_uid
    instance.SOPInstanceUID = generate_uid()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.MediaStorageSOPClassUID = sop_class_uid
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.PatientName, instance.PatientID = "Phantom^Made", "PHANTOM-1"
    instance.PatientBirthDate, instance.PatientSex = "", "O"
    instance.StudyDate, instance.StudyTime, instance.StudyID = "20260102", "101112", "1"
    instance.SeriesDate, instance.SeriesTime, instance.SeriesNumber = "20260102", "101500", 3
    instance.AccessionNumber, instance.ReferringPhysicianName = "", ""
    instance.Modality, instance.Manufacturer = "MR", "Phantom maker"
    instance.SeriesDescription, instance.ProtocolName = "T1 MPRAGE post contrast", "T1_MPRAGE_GD"
    instance.ContrastBolusAgent, instance.BodyPartExamined = "Gadolinium", "BRAIN"
    instance.MRAcquisitionType, instance.PatientPosition = "3D", "HFS"
    instance.PositionReferenceIndicator = ""
    instance.Rows, instance.Columns = plane_shape
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 16, 15
    instance.PixelRepresentation = 1
    return instance


def _classic(plane: NDArray[np.int16], affine_lps: NDArray[np.float64], k: int, attributes: dict[str, Any]) -> Dataset:
    instance = _instance(MRImageStorage, plane.shape)
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    instance.InstanceNumber = k + 1
    instance.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    instance.ScanningSequence, instance.SequenceVariant, instance.ScanOptions = "GR", "SP", ""
    instance.EchoTime, instance.RepetitionTime, instance.EchoTrainLength = 3.0, 8.0, 1
    instance.SliceThickness = _decimal(spacing[0])
    instance.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    instance.ImageOrientationPatient = _orientation(affine_lps)
    instance.ImagePositionPatient = _position(affine_lps, k)
    instance.PixelData = plane.tobytes()
    return _set(instance, attributes)


def _shared_groups(affine_lps: NDArray[np.float64]) -> Dataset:
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    orientation, measures, values, groups = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _orientation(affine_lps)
    measures.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    measures.SliceThickness = _decimal(spacing[0])
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = 0, 1, "US"
    groups.PlaneOrientationSequence = [orientation]
    groups.PixelMeasuresSequence = [measures]
    groups.PixelValueTransformationSequence = [values]
    return groups


def _frame_groups(affine_lps: NDArray[np.float64], k: int, component: str) -> Dataset:
    position, content, kind, groups = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = _position(affine_lps, k)
    content.StackID, content.InStackPositionNumber = "1", k + 1
    kind.FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    kind.ComplexImageComponent = component
    groups.PlanePositionSequence = [position]
    groups.FrameContentSequence = [content]
    groups.MRImageFrameTypeSequence = [kind]
    return groups


def _orientation(affine_lps: NDArray[np.float64]) -> list[str]:
    along_j, along_i = affine_lps[:3, 1], affine_lps[:3, 2]
    unit = [*(along_i / np.linalg.norm(along_i)), *(along_j / np.linalg.norm(along_j))]
    return [_decimal(value) for value in unit]


def _position(affine_lps: NDArray[np.float64], k: int) -> list[str]:
    return [_decimal(value) for value in (affine_lps @ [k, 0, 0, 1])[:3]]


def _decimal(value: float) -> str:
    return format_number_as_ds(float(value))


def _set(instance: Dataset, attributes: dict[str, Any]) -> Dataset:
    for keyword, value in attributes.items():
        if value is None:
            if keyword in instance:
                delattr(instance, keyword)
        else:
            setattr(instance, keyword, value)
    return instance
