"""A PACS of pynetdicom that answers as a test says, keeps what it stored, and finds it again."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from processes import HOST, free_port
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

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

    def store(self, event: evt.Event) -> int:
        sop_instance_uid = str(event.request.AffectedSOPInstanceUID)
        status = self.answer(sop_instance_uid)
        self.came.append(sop_instance_uid)
        if status in (0, 0xB000, 0xB006, 0xB007, BREAK_OFF) and not self.is_liar:
            self.stored.append(sop_instance_uid)
        if status == BREAK_OFF:
            event.assoc.abort()
        return max(status, 0)

    def echo(self, _event: evt.Event) -> int:
        self.echoes += 1
        return 0

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        if event.identifier.SOPInstanceUID in self.stored:
            yield 0xFF00, event.identifier


def success(_sop_instance_uid: str) -> int:
    return 0


@contextmanager
def pacs(answer: Answer = success, *, port: int | None = None, without: Collection[str] = ()) -> Iterator[Pacs]:
    """Listen on loopback; ``without`` are classes that it does not take."""
    told = Pacs(port or free_port(), answer)
    ae = AE(ae_title="PACS")
    ae.supported_contexts = [one for one in AllStoragePresentationContexts if one.abstract_syntax not in without]
    for sop_class_uid in (VERIFICATION, STUDY_ROOT_FIND):
        ae.add_supported_context(sop_class_uid)
    handlers = [(evt.EVT_C_STORE, told.store), (evt.EVT_C_ECHO, told.echo), (evt.EVT_C_FIND, told.find)]
    server = ae.start_server((HOST, told.port), block=False, evt_handlers=handlers)
    try:
        yield told
    finally:
        server.shutdown()
