"""Storage commitment as user: the request (N-ACTION) and the peer's report (N-EVENT-REPORT), PS3.4 annex J.

The report comes on the association of the request or, minutes or hours later, on one that the peer opens with the SCP
role for itself (PS3.4 J.3.3). As provider the node commits to nothing: it is no archive.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP

from vb_node.dimse import contexts, message, scu, status
from vb_node.dimse.message import Message
from vb_node.dimse.negotiation import Context

log = logging.getLogger(__name__)

CLASS_UID: Final = UID("1.2.840.10008.1.20.1")
INSTANCE_UID: Final = UID("1.2.840.10008.1.20.1.1")
REQUEST: Final = 1
ALL_STORED, SOME_FAILED = 1, 2
NO_SUCH_EVENT_TYPE, NO_SUCH_ACTION = 0x0113, 0x0123
LINGER_S = 1.0
LONGEST_REPORT = 1 << 20

REASONS: Final = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class and instance do not fit",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}
"""Failure Reason (PS3.3 C.14.1.1)."""


@dataclass(frozen=True)
class Report:
    """What a peer says of a transaction: SOP Instance UIDs that it keeps, and those it does not with its reason."""

    transaction_uid: str
    stored: tuple[str, ...]
    failed: Mapping[str, str]


OnReport = Callable[[Report], bool]


def request(
    peer: scu.Address,
    calling: str,
    transaction_uid: str,
    instances: Sequence[tuple[str, str]],
    on_report: OnReport,
    timeouts: scu.Timeouts,
) -> None:
    """Ask a peer to commit itself to instances, given as (SOP Class UID, SOP Instance UID).

    Success only means that the request was received. The association stays open for a moment, for peers that report
    on it.

    Raises
    ------
    Later
        The peer cannot be reached, or does not answer.
    NotAccepted
        The peer offers no storage commitment, or answers with a failure.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(*uids) for uids in instances]
    is_reported = threading.Event()
    handlers = [(evt.EVT_N_EVENT_REPORT, _take, [on_report]), (evt.EVT_DIMSE_SENT, _notice, [is_reported])]
    with scu.association(peer, calling, [(CLASS_UID, contexts.NATIVE)], timeouts, handlers=handlers) as opened:
        answer, _ = opened.send_n_action(information, REQUEST, CLASS_UID, INSTANCE_UID)
        value = scu.status_of(answer, peer)
        if value != status.SUCCESS:
            raise scu.NotAccepted(f"{peer} answered the request for storage commitment with {value:04X}, expected 0000")
        is_reported.wait(LINGER_S)


def services(on_report: OnReport) -> dict[str, Callable[[Message, Context], int]]:
    """Give what answers a peer that brings its reports to the listener; ``on_report`` False: unknown."""

    def answer(one: Message, context: Context) -> int:
        number, event_type = one.number(message.COMMAND_FIELD), one.number(message.EVENT_TYPE)
        if number != message.N_EVENT_REPORT_RQ:
            return NO_SUCH_ACTION if number == message.N_ACTION_RQ else status.UNRECOGNISED_OPERATION
        if event_type not in (ALL_STORED, SOME_FAILED):
            return NO_SUCH_EVENT_TYPE
        if one.is_too_long or one.has_no_room or len(one.data) > LONGEST_REPORT:
            return status.RESOURCE_LIMITATION
        try:
            information = read_dataset(BytesIO(one.data), UID(context.transfer_syntax).is_implicit_VR, True)
            is_known = on_report(_read(information))
        except Exception:  # garbage, or a ledger that takes nothing now: the peer may bring it again
            log.exception("report of storage commitment not taken")
            is_known = False
        return status.SUCCESS if is_known else status.PROCESSING_FAILURE

    return {str(CLASS_UID): answer}


def _take(event: evt.Event, on_report: OnReport) -> tuple[int, None]:
    if event.event_type not in (ALL_STORED, SOME_FAILED):
        return NO_SUCH_EVENT_TYPE, None
    is_known = on_report(_read(event.event_information))
    return (status.SUCCESS if is_known else status.PROCESSING_FAILURE), None


def _notice(event: evt.Event, is_reported: threading.Event) -> None:
    """Notice that a report was answered, not only that it came: then the association may end."""
    if isinstance(event.message, N_EVENT_REPORT_RSP):
        is_reported.set()


def _read(information: Dataset) -> Report:
    stored = information.get("ReferencedSOPSequence") or []
    failed = information.get("FailedSOPSequence") or []
    return Report(
        transaction_uid=str(information.get("TransactionUID", "")),
        stored=tuple(str(item.ReferencedSOPInstanceUID) for item in stored),
        failed={str(item.ReferencedSOPInstanceUID): _reason(item.get("FailureReason")) for item in failed},
    )


def _reason(value: int | None) -> str:
    return "no reason given" if value is None else f"{value:04X}, {REASONS.get(value, 'a reason of its own')}"


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item
