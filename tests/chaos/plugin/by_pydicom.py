"""The admission that a fuzz must find: what pydicom reads without an exception is believed."""

from io import BytesIO

from pydicom.filereader import read_dataset
from pydicom.uid import UID

from vb_node.dicom.admission import Header
from vb_node.dicom.structure import CANNOT_PARSE
from vb_node.errors import Refused


def admit(data: bytes, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Header:
    """Admit a data set as ``vb_node.dicom.admission.admit`` does, by what pydicom says."""
    try:
        read = read_dataset(BytesIO(data), UID(transfer_syntax_uid).is_implicit_VR, is_little_endian=True)
        series, study = str(read.get("SeriesInstanceUID")), str(read.get("StudyInstanceUID"))
    except Exception as error:
        raise Refused(f"pydicom: {type(error).__name__}", CANNOT_PARSE) from error
    return Header(sop_class_uid, sop_instance_uid, series[:64], study[:64], "", "")
