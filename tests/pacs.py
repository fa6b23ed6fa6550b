"""A PACS of pynetdicom that answers as a test says, keeps what it stored, and finds it again."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

from processes import HOST, free_port
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.association import Association

from vb_node.dimse import commitment
from vb_node.dimse.contexts import VERIFICATION
from vb_node.dimse.query import STUDY_ROOT_FIND

BREAK_OFF = -1

Answer = Callable[[str], int]


@dataclass
class Pacs:
    """What came and what is stored; ``answer`` gives the status for an instance, or ``BREAK_OFF``."""

    port: int
    answer: Answer
    is_liar: bool = False
    came: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    echoes: int = 0
    asked: list[Dataset] = field(default_factory=list)
    action_status: int = 0
    reports_at_once: bool = False
    breaks_off_echoes: bool = False

    def store(self, event: evt.Event) -> int:
        sop_instance_uid = str(event.request.AffectedSOPInstanceUID)
        status = self.answer(sop_instance_uid)
        self.came.append(sop_instance_uid)
        if status in (0, 0xB000, 0xB006, 0xB007, BREAK_OFF) and not self.is_liar:
            self.stored.append(sop_instance_uid)
        if status == BREAK_OFF:
            event.assoc.abort()
        return max(status, 0)

    def echo(self, event: evt.Event) -> int:
        self.echoes += 1
        if self.breaks_off_echoes:
            event.assoc.abort()
        return 0

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        if event.identifier.SOPInstanceUID in self.stored:
            yield 0xFF00, event.identifier

    def act(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if self.reports_at_once:
            threading.Timer(0.2, self._report_on, [event.assoc, self.outcome()]).start()
        return self.action_status, None

    def outcome(self, transaction: int = -1) -> Dataset:
        """Make the true report on a transaction: what is stored, and what is not (PS3.4 J.3.3.1.1)."""
        asked, report = self.asked[transaction], Dataset()
        report.TransactionUID = asked.TransactionUID
        items = list(asked.ReferencedSOPSequence)
        report.ReferencedSOPSequence = [item for item in items if item.ReferencedSOPInstanceUID in self.stored]
        failed = [deepcopy(item) for item in items if item.ReferencedSOPInstanceUID not in self.stored]
        for item in failed:
            item.FailureReason = 0x0112
        if failed:
            report.FailedSOPSequence = failed
        return report

    def report(self, node_port: int, report: Dataset) -> int:
        """Bring a report to the node on another association, as its SCP; give the status of its answer."""
        ae = AE(ae_title="PACS")
        ae.add_requested_context(commitment.CLASS_UID)
        role = build_role(commitment.CLASS_UID, scp_role=True)
        association = ae.associate(HOST, node_port, ae_title="NODE", ext_neg=[role])
        status = self._report_on(association, report)
        association.release()
        return status

    @staticmethod
    def _report_on(association: Association, report: Dataset) -> int:
        kind = 2 if "FailedSOPSequence" in report else 1
        answer, _ = association.send_n_event_report(report, kind, commitment.CLASS_UID, commitment.INSTANCE_UID)
        return int(answer.Status)


def success(_sop_instance_uid: str) -> int:
    return 0


@contextmanager
def pacs(answer: Answer = success, *, port: int | None = None, without: Collection[str] = ()) -> Iterator[Pacs]:
    """Listen on loopback; ``without`` are classes that it does not take."""
    told = Pacs(port or free_port(), answer)
    ae = AE(ae_title="PACS")
    ae.supported_contexts = [one for one in AllStoragePresentationContexts if one.abstract_syntax not in without]
    for sop_class_uid in (VERIFICATION, STUDY_ROOT_FIND, commitment.CLASS_UID):
        ae.add_supported_context(sop_class_uid)
    handlers = [
        (evt.EVT_C_STORE, told.store),
        (evt.EVT_C_ECHO, told.echo),
        (evt.EVT_C_FIND, told.find),
        (evt.EVT_N_ACTION, told.act),
    ]
    server = ae.start_server((HOST, told.port), block=False, evt_handlers=handlers)
    try:
        yield told
    finally:
        server.shutdown()
