"""The questioner: C-FIND as user, Study Root at the level of series (PS3.4 C.6.2.1.3)."""

from pydicom import Dataset

from vb_node.dimse import contexts
from vb_node.dimse.scu import Address, Timeouts, association
from vb_node.errors import Later

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)


def count_by_series(
    peer: Address, calling: str, study_instance_uid: str, timeouts: Timeouts | None = None
) -> dict[str, int]:
    """Ask how many instances the peer has of each series of a study; a series that it does not count is left out.

    Raises
    ------
    Later
        No connection, no association for now, or no complete answer.
    NotAccepted
        The peer rejects us for good, or offers no C-FIND.
    """
    found: dict[str, int] = {}
    with association(peer, calling, [(STUDY_ROOT_FIND, contexts.NATIVE)], timeouts or Timeouts()) as opened:
        for status, answer in opened.send_c_find(_question(study_instance_uid), STUDY_ROOT_FIND):
            code = status.get("Status")
            if code not in (SUCCESS, *PENDING):
                raise Later(f"{peer} did not answer a C-FIND: expected status 0000, came {_words(code)}")
            if answer is not None and answer.get("NumberOfSeriesRelatedInstances") is not None:
                found[str(answer.SeriesInstanceUID)] = int(answer.NumberOfSeriesRelatedInstances)
    return found


def _words(code: int | None) -> str:
    return "none" if code is None else f"{code:04X}"


def _question(study_instance_uid: str) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = "SERIES"
    asked.StudyInstanceUID = study_instance_uid
    asked.SeriesInstanceUID = ""
    asked.NumberOfSeriesRelatedInstances = None
    return asked
