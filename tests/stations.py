"""A ledger, a spool, a receiver and an assembler, turned by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from empty_ledger import empty_ledger
from factories import affine, head, mr_series
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from storage import audit, jobs, stations
from storage.schema import Event, Job
from storage.spool import Spool
from vb_node.config import Settings, build
from vb_node.dimse.scp import StoreRequest
from vb_node.pipeline.application import Application
from vb_node.runtime.assemble import Assembler
from vb_node.runtime.receive import Receiver


class House:
    """A ledger, a spool, a receiver and an assembler."""

    def __init__(self, root: Path, applications: Mapping[str, Application], **settings: object) -> None:
        self.database = empty_ledger(root / "ledger.db")
        self.spool = Spool(root / "spool")
        self.receiver = Receiver(self.database, self.spool)
        self.settings: Settings = build({"assemble": {"quiet_s": 10}} | settings)
        self.assembler = Assembler(self.database, self.spool, self.settings, applications)
        with self.database.write() as session:
            stations.start(session, "receive", now=0.0)

    def send(self, datasets: Sequence[Dataset], association_id: str | None = None, *, is_over: bool = True) -> None:
        self.sent = list(datasets)
        for dataset in datasets:
            self.receiver.store(request_of(dataset, association_id))
        if association_id is not None and is_over:
            self.receiver.end(association_id, is_released=True)
        self.receiver.settle()

    def assemble(self, seconds_later: float = 11.0) -> bool:
        now = self._last_arrival() + seconds_later
        with self.database.write() as session:
            stations.beat(session, "receive", now=now)
        return self.assembler.step(now)

    def _last_arrival(self) -> float:
        with self.database.read() as session:
            return max(event.at for event in audit.search(session, since=None, until=None, limit=10_000))

    def jobs(self) -> list[Job]:
        with self.database.read() as session:
            return [jobs.get(session, job.id) for job in jobs.listing(session)][::-1]

    def events(self, event: str | None = None) -> list[Event]:
        with self.database.read() as session:
            return list(audit.search(session, since=None, until=None, limit=1000, event=event))


def request_of(dataset: Dataset, association_id: str | None = None) -> StoreRequest:
    """Make the C-STORE request of an instance."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    uids = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    return StoreRequest(*uids, ExplicitVRLittleEndian, buffer.getvalue(), "PACS", "127.0.0.1", association_id)


def series_of(study: str, slices: int = 20, **attributes: object) -> list[Dataset]:
    return mr_series(head((slices, 16, 16)), affine((5.0, 5.0, 5.0)), StudyInstanceUID=study, **attributes)
