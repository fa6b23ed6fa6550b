"""A small MR series that no patient ever had, encoded as it crosses the network."""

import random
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import MRImageStorage, generate_uid

SLICES, SIDE = 8, 64


@dataclass(frozen=True)
class Encoded:
    """One instance in Explicit VR Little Endian."""

    sop_class_uid: str
    sop_instance_uid: str
    data: bytes


def make(slices: int = SLICES) -> list[Encoded]:
    """Make one series of random noise, in slice order."""
    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    return [_instance(study, series, frame_of_reference, k) for k in range(slices)]


def other_content(instance: Encoded) -> Encoded:
    """Change the last pixel and keep the UID."""
    data = instance.data[:-1] + bytes([instance.data[-1] ^ 1])
    return Encoded(instance.sop_class_uid, instance.sop_instance_uid, data)


def _instance(study: str, series: str, frame_of_reference: str, k: int) -> Encoded:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = frame_of_reference, ""
    image.PatientName, image.PatientID = "Acceptance^Test", "VB-NODE-SIMULATE"
    image.PatientBirthDate, image.PatientSex = "", ""
    image.StudyDate, image.StudyTime, image.StudyID = "20260101", "120000", "1"
    image.AccessionNumber, image.ReferringPhysicianName = "", ""
    image.Modality, image.Manufacturer, image.SeriesNumber = "MR", "vb-node simulate", 1
    image.SeriesDescription, image.InstanceNumber = "acceptance test, not a patient", k + 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "GR", "SP", ""
    image.MRAcquisitionType, image.EchoTime, image.EchoTrainLength = "3D", 3, 1
    image.PixelSpacing, image.SliceThickness = [4, 4], 4
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 4 * k]
    image.Rows, image.Columns = SIDE, SIDE
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = random.Random(k).randbytes(SIDE * SIDE * 2)  # noqa: S311  noise, guards no secret
    image["PixelData"].VR = "OW"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, image)
    return Encoded(MRImageStorage, image.SOPInstanceUID, buffer.getvalue())
