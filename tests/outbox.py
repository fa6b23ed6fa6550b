"""A ledger with results that wait for destinations, and deliverers turned by hand on a clock of their own."""

from pathlib import Path

from empty_ledger import empty_ledger
from pacs import pacs
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from storage import audit, jobs
from storage.schema import Delivery, Event, Job, Result
from vb_node.config import DestinationSettings
from vb_node.dimse.contexts import ENHANCED_SR
from vb_node.runtime.deliver import Deliverer

BEGIN = 1000.0
LATER = BEGIN + 30 * 86400.0
PATIENCE_S = 30.0  # with a peer that answers, on a machine that may be busy


class Outbox:
    """Jobs that have ended, their results on disk and on the shelf DELIVERIES."""

    def __init__(self, root: Path) -> None:
        self.results = root / "results"
        self.results.mkdir(parents=True)
        self.database = empty_ledger(root / "ledger.db")

    def finish_job(
        self,
        *destinations: str,
        series: str = "1.2.3",
        now: float = BEGIN,
        pair: bool = True,
        report_class: str = ENHANCED_SR,
    ) -> list[str]:
        """End a job with a SEG and an SR, or an SR alone; give their UIDs."""
        classes = [("segmentation", str(SegmentationStorage)), ("report", report_class)][0 if pair else 1 :]
        job = Job(
            key=generate_uid(),
            application="virtual_biopsy",
            version="1",
            route="r",
            plan={},
            destinations=list(destinations),
            series_instance_uid=series,
            study_instance_uid="1.2",
            patient_id="P1",
            accession_number="A1",
            closed_by="quiet",
            created_at=now,
        )
        with self.database.write() as session:
            jobs.schedule(session, job, [])
            claimed = jobs.claim(session, "work 1", lease_s=30.0, now=now)
            assert claimed is not None
            results = [self._result(rank, role, uid, job, now) for rank, (role, uid) in enumerate(classes)]
            jobs.finish(session, claimed[1], "COMPLETED", results, now=now, outcome={})
        return [result.sop_instance_uid for result in results]

    def _result(self, rank: int, role: str, sop_class_uid: str, job: Job, now: float) -> Result:
        instance = Dataset()
        instance.SOPClassUID, instance.SOPInstanceUID = sop_class_uid, generate_uid()
        instance.StudyInstanceUID, instance.SeriesInstanceUID = job.study_instance_uid, f"1.2.3.{job.id}.{rank}"
        instance.PatientID, instance.PatientName, instance.Modality = "P1", "Doe^Jane", "SR"
        instance.file_meta = FileMetaDataset()
        instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = f"{instance.SOPInstanceUID}.dcm"
        instance.save_as(self.results / path, enforce_file_format=True)
        return Result(
            sop_instance_uid=str(instance.SOPInstanceUID),
            job_id=job.id,
            role=role,
            rank=rank,
            sop_class_uid=sop_class_uid,
            series_instance_uid=str(instance.SeriesInstanceUID),
            path=path,
            sha256="c" * 64,
            created_at=now,
        )

    def deliverer(self, name: str = "pacs", **settings: object) -> Deliverer:
        filled = {"name": name, "ae_title": "PACS", "timeout_s": PATIENCE_S} | settings
        return Deliverer(self.database, self.results, DestinationSettings.model_validate(filled), "NODE")

    def deliveries(self, destination: str = "pacs") -> list[Delivery]:
        with self.database.read() as session:
            query = select(Delivery).filter_by(destination=destination).order_by(Delivery.id)
            return list(session.scalars(query.options(selectinload(Delivery.result))))

    def states(self, destination: str = "pacs") -> list[str]:
        return [delivery.state for delivery in self.deliveries(destination)]

    def check_alive(self) -> None:
        """Hold what sends against the catalogue's "alive" (RELIABILITY.md, section 4): a good PACS gets its results."""
        sent = self.finish_job("good", series="1.2.3.99", now=LATER)
        with pacs() as good:
            drain(self.deliverer("good", port=good.port), LATER)
            assert good.stored == sent
        assert not list(self.results.parent.rglob("*.part"))
        with self.database.read() as session:
            assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            audit.verify(session)

    def events(self, event: str) -> list[Event]:
        with self.database.read() as session:
            return list(audit.search(session, since=None, until=None, limit=10_000, event=event))


def drain(deliverer: Deliverer, now: float, most: int = 2000) -> int:
    """Turn a deliverer at one moment until nothing is due; give how often it had something to do."""
    for turns in range(most):
        if not deliverer.step(now):
            return turns
    raise AssertionError(f"still busy after {most} turns")
