"""The source series as highdicom can take it, and the identity that every result takes from it.

highdicom reads sources strictly: a missing Study ID, a Japanese character set, noise in the orientation or an Enhanced
object with its geometry in each frame stops it. So it never sees the sources: it sees one small virtual single-frame
instance a slice, numbered in slice order and with no patient in it. Afterwards each number becomes the reference to the
real instance and frame, and the patient and study go in, in UTF-8.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import datetime, tzinfo
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DSfloat, validate_value

from vb_node.dicom import uid
from vb_node.dicom.frames import look_up, places_of
from vb_node.dicom.provenance import Provenance
from vb_node.types import Series

# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): in every result, empty where unknown.
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# What an archive files an object by: copied as it is even where it breaks its VR, else the archive splits the patient.
IDENTITY = ("PatientName", "PatientID", "StudyID", "AccessionNumber", "ReferringPhysicianName")
OPTIONAL = (
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "EthnicGroup",
    "PatientComments",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
)
# What an item of these must hold (type 1); one that a sloppy source has left incomplete is not copied.
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
ITEM_TYPE_1 = {
    "OtherPatientIDsSequence": ("PatientID", "TypeOfPatientID"),
    "DeidentificationMethodCodeSequence": CODE,
    "ProcedureCodeSequence": CODE,
    "ReferencedStudySequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
}
# dciodvfy, and readers with it, take a direction cosine for a unit vector up to this.
ROUGH = 1e-4
EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName")


def identity(header: Dataset) -> Dataset:
    """Copy patient and study from a source, in UTF-8, with what the Standard requires and without what it forbids."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    found.StudyInstanceUID = header.StudyInstanceUID
    for keyword in (*TYPE_2, *OPTIONAL):
        if (element := _copied(header, keyword)) is not None:
            found.add(element)
        elif keyword in TYPE_2:
            setattr(found, keyword, "")
    return found


def stand_in(header: Dataset) -> Dataset:
    """Make an empty instance that stands for a source: it names the scanner, and no patient."""
    made = _blank(header, header.SOPClassUID)
    made.SOPInstanceUID = header.SOPInstanceUID
    _name_scanner(made, header)
    return made


def demand_grid(series: Series, shape: tuple[int, ...]) -> None:
    """Refuse an array that is not on the grid of the source, and a source that is placed nowhere.

    Raises
    ------
    ValueError
        What was expected, and what came.
    """
    if shape != series.grid.shape:
        raise ValueError(f"an array of shape {series.grid.shape} expected, as the source has; {shape} came")
    if not series.grid.frame_of_reference_uid:
        raise ValueError("the source has no Frame of Reference UID: nothing can be placed over it")


def slices(series: Series, chosen: Iterable[int] | None = None) -> list[Dataset]:
    """Make one virtual single-frame MR instance for each slice of ``series.grid``, or for each that is chosen.

    ``slice_of`` reads the number of a slice back.

    All carry the orientation and spacing of the first, digit by digit, and the position that the real frame states. The
    spacing between slices is the true one, SliceThickness only where it is stated.
    """
    places = {str(header.SOPInstanceUID): places_of(header) for header in series.headers}
    frames = [places[plane.sop_instance_uid][(plane.frame_number or 1) - 1] for plane in series.planes]
    shared = _shared(series, frames[0])
    made = []
    for k in range(len(frames)) if chosen is None else chosen:
        virtual = Dataset()
        virtual.update(shared)
        virtual.SOPInstanceUID = f"2.25.{k}"
        virtual.ImagePositionPatient = look_up(frames[k], "PlanePositionSequence", "ImagePositionPatient")
        made.append(virtual)
    _name_scanner(made[0], series.headers[0])
    return made


def slice_of(virtual_sop_instance_uid: str) -> int:
    """Read the slice number from the UID of a virtual instance."""
    return int(virtual_sop_instance_uid.rpartition(".")[2])


def refer(result: Dataset, series: Series) -> None:
    """Replace each virtual slice by the instance, and frame, behind it; and list every source instance once."""
    classes = {str(header.SOPInstanceUID): header.SOPClassUID for header in series.headers}
    frames = result.PerFrameFunctionalGroupsSequence
    items = [item for frame in frames for item in frame.DerivationImageSequence[0].SourceImageSequence]
    # Frames of two segments in one slice may share an item: each is replaced once.
    for item in {id(item): item for item in items}.values():
        plane = series.planes[slice_of(item.ReferencedSOPInstanceUID)]
        item.ReferencedSOPClassUID = classes[plane.sop_instance_uid]
        item.ReferencedSOPInstanceUID = plane.sop_instance_uid
        if plane.frame_number is not None:
            item.ReferencedFrameNumber = plane.frame_number
    if "SourceImageSequence" in result:
        del result.SourceImageSequence  # the virtual slices; the referenced series lists every instance
    result.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references(series.headers)


def references(headers: Sequence[Dataset]) -> list[Dataset]:
    """Refer to each instance by its class and UID (PS3.3 table 10-11)."""
    made = []
    for header in headers:
        reference = Dataset()
        reference.ReferencedSOPClassUID = header.SOPClassUID
        reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
        made.append(reference)
    return made


def pin_dimensions(result: Dataset, role: str, provenance: Provenance) -> None:
    """Replace highdicom's random Dimension Organization UID: the same job writes the same bytes."""
    pinned = uid.derive(provenance.job_key, f"{role} dimensions")
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = pinned


def sign(result: Dataset, header: Dataset, provenance: Provenance) -> None:
    """Put the source's patient and study, and the ledger's date, into a finished result; nothing of the clock stays.

    Its Series Number is never the source's. Dates of source and result share one zone (PS3.3 C.12.1.1.8): ours follow
    where the source names its zone.
    """
    result.update(identity(header))
    if str(result.SeriesNumber) == str(header.get("SeriesNumber")):
        result.SeriesNumber += 100
    created, zone = provenance.created, _zone(header)
    if created.tzinfo is not None and zone is not None:
        created = created.astimezone(zone)
        result.TimezoneOffsetFromUTC = created.strftime("%z")
    result.InstanceCreationDate = result.ContentDate = result.SeriesDate = created.strftime("%Y%m%d")
    result.InstanceCreationTime = result.ContentTime = result.SeriesTime = created.strftime("%H%M%S.%f")
    for item in result.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f")


def _zone(header: Dataset) -> tzinfo | None:
    try:
        return datetime.strptime(str(header.get("TimezoneOffsetFromUTC") or ""), "%z").tzinfo
    except ValueError:
        return None


def _blank(header: Dataset, sop_class_uid: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID = sop_class_uid
    made.StudyInstanceUID, made.SeriesInstanceUID = header.StudyInstanceUID, header.SeriesInstanceUID
    made.Modality = "MR"
    for keyword in TYPE_2:
        setattr(made, keyword, "")
    return made


def _shared(series: Series, first: list[Dataset]) -> Dataset:
    step_mm = DSfloat(series.grid.spacing_mm[0], auto_format=True)
    header = series.headers[0]
    shared = _blank(header, MRImageStorage)
    shared.FrameOfReferenceUID = series.grid.frame_of_reference_uid
    shared.PositionReferenceIndicator = header.get("PositionReferenceIndicator") or ""
    shared.Rows, shared.Columns = series.grid.shape[1:]
    shared.ImageOrientationPatient = _orientation(look_up(first, "PlaneOrientationSequence", "ImageOrientationPatient"))
    shared.PixelSpacing = look_up(first, "PixelMeasuresSequence", "PixelSpacing")
    shared.SliceThickness = _thickness(first) or step_mm
    shared.SpacingBetweenSlices = step_mm
    shared.LossyImageCompression = "01" if header.get("LossyImageCompression") == "01" else "00"
    return shared


def _orientation(stated: Sequence[Any]) -> list[Any]:
    """Keep the digits of an orientation, unless they are so rough that its vectors are no unit vectors any more."""
    cosines = np.array(stated, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1, keepdims=True)
    if np.abs(lengths - 1).max() < ROUGH:
        return list(stated)
    return [DSfloat(float(cosine), auto_format=True) for cosine in (cosines / lengths).ravel()]


def _thickness(frame: list[Dataset]) -> Any:
    try:
        stated = look_up(frame, "PixelMeasuresSequence", "SliceThickness")
        return stated if float(stated) > 0 else None
    except (TypeError, ValueError):  # absent, or a text that is no number
        return None


def _copied(header: Dataset, keyword: str) -> DataElement | None:
    """Copy one element, decoded and mended; None where it is empty, or breaks its VR and identifies nobody."""
    try:
        element = header[keyword]
    except (KeyError, ValueError):  # absent, or a text that is no number
        return None
    if element.is_empty:
        return None
    if element.VR == "SQ":
        whole = [_decoded(item) for item in element.value if _is_whole(item, ITEM_TYPE_1.get(keyword, ()))]
        return DataElement(element.tag, "SQ", whole) if whole else None
    value = element.value if element.VM > 1 else _mended(keyword, str(element.VR), str(element.value))
    if keyword not in IDENTITY and not _fits(keyword, str(element.VR), value):
        return None
    # The VR is judged above, in silence: a warning of pydicom would print the value.
    return DataElement(element.tag, element.VR, value, validation_mode=config.IGNORE)


def _is_whole(item: Dataset, needed: Sequence[str]) -> bool:
    return len(item) > 0 and all(keyword in item and not item[keyword].is_empty for keyword in needed)


def _decoded(item: Dataset) -> Dataset:
    for _ in item.iterall():
        pass  # reading an element decodes it, and a copy has lost the parent's character set
    copy = deepcopy(item)
    copy.remove_private_tags()
    if "SpecificCharacterSet" in copy:
        del copy.SpecificCharacterSet
    return copy


def _mended(keyword: str, vr: str, value: str) -> str:
    """Undo spellings of older standards: 10:15:00, 1960.01.31, m."""
    if vr == "TM":
        return value.replace(":", "")
    if vr == "DA":
        return value.replace(".", "")
    return value.upper() if keyword == "PatientSex" else value


def _fits(keyword: str, vr: str, value: Any) -> bool:
    if keyword == "PatientSex":
        return value in {"M", "F", "O"}
    values = [value] if isinstance(value, str) else value
    try:
        for one in values:
            validate_value(vr, one, config.RAISE)
    except ValueError:
        return False
    return True


def _name_scanner(made: Dataset, header: Dataset) -> None:
    """Let highdicom name the scanner in the Contributing Equipment Sequence."""
    for keyword in EQUIPMENT:
        if (element := _copied(header, keyword)) is not None:
            made.add(element)
