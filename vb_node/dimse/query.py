"""What a peer has: C-FIND as user, Study Root (PS3.4 C.4.1), of one instance or of the series of a study."""

from collections.abc import Iterator
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
    # a peer may ignore a key and list more than was asked for
    matches = list(_find(peer, calling, identifier, timeouts))
    return any(match.get("SOPInstanceUID") == wanted.sop_instance_uid for match in matches)


def count_by_series(
    peer: scu.Address, calling: str, study_instance_uid: str, timeouts: scu.Timeouts | None = None
) -> dict[str, int]:
    """Ask how many instances the peer has of each series of a study; a series that it does not count is left out.

    Raises
    ------
    Later
        The peer cannot be reached, or does not answer to the end.
    NotAccepted
        The peer offers no such query, or refuses it.
    """
    asked = Dataset()
    asked.QueryRetrieveLevel = "SERIES"
    asked.StudyInstanceUID = study_instance_uid
    asked.SeriesInstanceUID = ""
    asked.NumberOfSeriesRelatedInstances = None
    found: dict[str, int] = {}
    for match in _find(peer, calling, asked, timeouts or scu.Timeouts()):
        if match.get("NumberOfSeriesRelatedInstances") is not None:
            found[str(match.SeriesInstanceUID)] = int(match.NumberOfSeriesRelatedInstances)
    return found


def _find(peer: scu.Address, calling: str, asked: Dataset, timeouts: scu.Timeouts) -> Iterator[Dataset]:
    with scu.association(peer, calling, [(STUDY_ROOT_FIND, contexts.NATIVE)], timeouts) as opened:
        for answer, match in opened.send_c_find(asked, STUDY_ROOT_FIND):
            value = scu.status_of(answer, peer)
            if value in PENDING and match is not None:
                yield match
            elif value not in (status.SUCCESS, *PENDING):
                raise scu.NotAccepted(f"{peer} answered a query with {value:04X}, expected 0000")
