"""The question whether a peer has an instance: C-FIND as user at IMAGE level (PS3.4 C.4.1, Study Root)."""

from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID

from vb_node.dimse import contexts, scu, status

STUDY_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.2.1")
PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True)
class Wanted:
    """Which instance to look for; the unique keys of every level above are asked for too (PS3.4 C.4.1.3.1.1)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def holds(peer: scu.Address, calling: str, wanted: Wanted, timeouts: scu.Timeouts) -> bool:
    """Say whether a peer has an instance.

    Raises
    ------
    Later
        The peer cannot be reached, or does not answer to the end.
    NotAccepted
        The peer offers no such query.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = wanted.study_instance_uid
    identifier.SeriesInstanceUID = wanted.series_instance_uid
    identifier.SOPInstanceUID = wanted.sop_instance_uid
    is_found = False
    with scu.association(peer, calling, [(STUDY_ROOT_FIND, contexts.NATIVE)], timeouts) as opened:
        for answer, match in opened.send_c_find(identifier, STUDY_ROOT_FIND):
            value = scu.status_of(answer, peer)
            if value in PENDING:  # a peer may ignore a key and list more than was asked for
                is_found |= match is not None and match.get("SOPInstanceUID") == wanted.sop_instance_uid
            elif value != status.SUCCESS:
                raise scu.NotAccepted(f"{peer} answered the query for an instance with {value:04X}, expected 0000")
    return is_found
