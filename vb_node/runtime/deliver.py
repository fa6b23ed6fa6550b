"""The station that sends results to one destination, in order, until each is there or a person must look."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread

from storage import deliveries
from storage.database import Database
from storage.schema import Delivery
from storage.spool import write_durably
from vb_node.config import DestinationSettings
from vb_node.dicom import sr
from vb_node.dimse import scu, status
from vb_node.dimse.tls import ClientTls, TlsFiles
from vb_node.errors import Later

log = logging.getLogger(__name__)

STATION = "deliver"
Send = Callable[[Path, Delivery], tuple[int, str | None]]
GONE = "the destination is not in the configuration (any more)"


class Deliverer:
    """Sends what waits for one destination."""

    def __init__(self, database: Database, results: Path, destination: DestinationSettings, ae_title: str) -> None:
        self.database = database
        self.results = results
        self.destination = destination
        self.ae_title = destination.calling_ae_title or ae_title
        self.send: Send = self._to_folder if destination.kind == "folder" else self._to_ae
        self.timeouts = scu.Timeouts(connect_s=min(10.0, destination.timeout_s), answer_s=destination.timeout_s)

    def step(self, now: float) -> bool:
        """Send one object; give False if none is due."""
        lease_s = 60 + 6 * self.destination.timeout_s
        with self.database.write() as session:
            claimed = deliveries.claim(session, self.destination.name, lease_s=lease_s, now=now)
        if claimed is None:
            return False
        delivery, lease = claimed
        answer, value, detail = self._attempt(delivery)
        patience_s = 3600 * self.destination.retry_for_h
        ids = {
            "job": delivery.job_id,
            "destination": self.destination.name,
            "sop_instance_uid": delivery.sop_instance_uid,
        }
        try:
            with self.database.write() as session:
                settled = deliveries.settle(
                    session, lease, answer, now=time.time(), patience_s=patience_s, status=value, detail=detail
                )
        except deliveries.LostLease:
            log.warning("delivery taken over", extra=ids)
            return True
        log.info("delivery", extra=ids | {"state": settled.state, "status": scu.words_of(value), "why": detail})
        return True

    def _attempt(self, delivery: Delivery) -> tuple[deliveries.Answer, int | None, str | None]:
        path = self.results / delivery.result.path
        try:
            value, detail = self.send(path, delivery)
        except (Later, OSError) as error:
            return "busy", None, str(error)
        except scu.NotAccepted as error:
            return "refused", None, str(error)
        except Exception as error:
            log.exception("delivery not done", extra={"job": delivery.job_id})
            return "refused", None, f"unexpected {type(error).__name__}, see the log"
        return status.meaning(value), value, detail

    def _to_ae(self, path: Path, _delivery: Delivery) -> tuple[int, str | None]:
        settings = self.destination
        peer = scu.Address(settings.ae_title or "", settings.host, settings.port, tls_of(settings))
        detail: str | None = None
        with TemporaryDirectory() as scratch:

            def convert(original: Path, sop_class_uid: str) -> Path:
                nonlocal detail
                document = sr.as_class(dcmread(original), sop_class_uid)
                detail = f"sent as {document.SOPClassUID.name}, instance {document.SOPInstanceUID}"
                document.save_as(Path(scratch) / "document.dcm", enforce_file_format=True)
                return Path(scratch) / "document.dcm"

            value = scu.store(peer, self.ae_title, path, convert, self.timeouts)
        return value, detail

    def _to_folder(self, path: Path, delivery: Delivery) -> tuple[int, str | None]:
        if self.destination.folder is None:
            raise Later(f"destination {self.destination.name} has no folder")
        write_durably(self.destination.folder / f"{delivery.sop_instance_uid}.dcm", path.read_bytes())
        return status.SUCCESS, None


def park_lost(database: Database, known: list[str], now: float) -> None:
    """Park, visibly, what waits for a destination that the configuration does not name."""
    with database.read() as session:
        lost = deliveries.without_destination(session, known)
    for destination in lost:
        while True:
            with database.write() as session:
                claimed = deliveries.claim(session, destination, lease_s=60.0, now=now)
                if claimed is None:
                    break
                deliveries.settle(session, claimed[1], "impossible", now=now, patience_s=0.0, detail=GONE)


def tls_of(destination: DestinationSettings) -> ClientTls | None:
    """Give how a destination is known and what it is shown, where it is reached by TLS."""
    asked = destination.tls
    if asked is None:
        return None
    return ClientTls(TlsFiles(asked.certificate, asked.key, asked.ca), asked.check_host)
