"""The station that answers C-STORE: nothing is answered Success before it is on disk and in the ledger.

Order: check the data set, write the spool file (file and folder fsynced), commit the ledger row, answer.
"""

import hashlib
import logging
import time
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import arrivals, associations, audit
from storage.database import Database
from storage.disk import Disk
from storage.schema import Instance, Series
from storage.spool import Spool
from vb_node.dicom.admission import admit
from vb_node.dimse import implementation, status
from vb_node.dimse.scp import StoreRequest
from vb_node.errors import Refused

log = logging.getLogger(__name__)

STATION = "receive"
META_START, META_LENGTH_AT = 144, slice(140, 144)


class Receiver:
    """Takes instances from peers and puts them on the shelf."""

    def __init__(self, database: Database, spool: Spool, disk: Disk | None = None) -> None:
        self.database = database
        self.spool = spool
        self.disk = disk
        self._open: set[str] = set()  # associations that brought instances

    def store(self, request: StoreRequest) -> None:
        """Take one instance; return when it is safe.

        Raises
        ------
        Refused
            With the DIMSE status that says why not.
        """
        try:
            self._check_space()
            self._store(request)
        except Refused as refused:
            if refused.status == status.OUT_OF_RESOURCES:
                self.spend_reserve()
            self._tell_refusal(request, refused)
            raise

    def _check_space(self) -> None:
        if self.disk is not None and self.disk.is_spent:
            raise Refused("the disk is full: free some space, then send it again", status.OUT_OF_RESOURCES)

    def spend_reserve(self) -> None:
        """Where the disk is really full, give up the reserve, so that the ledger can say so."""
        if self.disk is not None and self.disk.spend():
            log.error("disk full, instances are refused", extra={"free_bytes": self.disk.free_bytes})
            self._tell_no("disk full", "", {"folder": str(self.disk.folder)})

    def _store(self, request: StoreRequest) -> None:
        header = admit(request.data, request.transfer_syntax_uid, request.sop_class_uid, request.sop_instance_uid)
        sha256 = hashlib.sha256(request.data).hexdigest()
        is_known = self._is_known(request.sop_instance_uid, sha256)
        if is_known and is_intact(self.spool.path_of(request.sop_instance_uid, sha256), sha256):
            with self.database.write() as session:
                self._note(session, request)
                is_there = arrivals.see_again(
                    session, request.sop_instance_uid, now=time.time(), association_id=request.association_id
                )
            if is_there:
                return
        try:
            self.spool.put(request.sop_instance_uid, sha256, part10(request), request.data)
            self._record(header, sha256, len(request.data), request.calling_ae_title, request)
        except arrivals.Conflict as conflict:
            self.spool.path_of(request.sop_instance_uid, sha256).unlink(missing_ok=True)
            raise Refused(str(conflict), status.DUPLICATE) from conflict
        except (OSError, OperationalError) as error:
            raise Refused(f"out of resources: {type(error).__name__}", status.OUT_OF_RESOURCES) from error

    def _is_known(self, sop_instance_uid: str, sha256: str) -> bool:
        with self.database.read() as session:
            known = session.get(Instance, sop_instance_uid)
        if known is not None and known.sha256 != sha256:
            raise Refused(
                f"SOP Instance UID {sop_instance_uid} is known with other content; the first is kept", status.DUPLICATE
            )
        return known is not None

    def _record(
        self, header: Dataset, sha256: str, size_bytes: int, peer: str, request: StoreRequest | None = None
    ) -> None:
        now = time.time()
        instance = Instance(
            sop_instance_uid=str(header.SOPInstanceUID),
            sop_class_uid=str(header.SOPClassUID),
            series_instance_uid=str(header.SeriesInstanceUID),
            study_instance_uid=str(header.StudyInstanceUID),
            sha256=sha256,
            size_bytes=size_bytes,
            peer=peer,
            received_at=now,
            association_id=request and request.association_id,
        )
        series = Series(
            series_instance_uid=instance.series_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            patient_id=_text(header, "PatientID"),
            accession_number=_text(header, "AccessionNumber"),
            opened_at=now,
            last_arrival_at=now,
        )
        with self.database.write() as session:
            if request is not None:
                self._note(session, request)
            arrivals.record(session, instance, series, actor=STATION)

    def _note(self, session: Session, request: StoreRequest) -> None:
        if request.association_id is not None:
            associations.note(session, request.association_id, request.calling_ae_title, request.host, now=time.time())
            self._open.add(request.association_id)

    def end(self, association_id: str, is_released: bool) -> None:
        """Write down that an association that brought instances has ended, and how."""
        if association_id not in self._open:
            return
        self._open.discard(association_id)
        with self.database.write() as session:
            associations.end(session, association_id, is_released=is_released, now=time.time())

    def tell_rejection(self, calling_ae_title: str, host: str, why: str) -> None:
        """Write down that an association was rejected."""
        self._tell_no("association rejected", calling_ae_title, {"why": why, "host": host})

    def _tell_refusal(self, request: StoreRequest, refused: Refused) -> None:
        details = {"status": f"{refused.status:04X}", "why": str(refused), "host": request.host}
        uid = request.sop_instance_uid[:64]
        self._tell_no("instance refused", request.calling_ae_title, details, sop_instance_uid=uid)

    def _tell_no(self, event: str, calling_ae_title: str, details: dict[str, str], **keys: str) -> None:
        keys["peer"] = calling_ae_title[:64]
        try:
            with self.database.write() as session:
                audit.record(session, event, now=time.time(), actor=STATION, outcome="refused", details=details, **keys)
        except OperationalError:
            log.exception("refusal not recorded")  # a full disk refuses instances and cannot say so in the ledger

    def recover(self) -> int:
        """Rebuild the rows of files that a crash left without one, and return how many.

        A file that cannot be an arrival was never answered Success: it is set aside, and does not stop the listener.
        """
        rebuilt = 0
        for path in self.spool:
            try:
                rebuilt += self._rebuild(path)
            except (Refused, arrivals.Conflict, InvalidDicomError):
                log.warning("spool file set aside", extra={"file": path.name})
                path.rename(path.with_suffix(".rejected"))
            except OSError:
                log.exception("spool file not read", extra={"file": path.name})
        return rebuilt

    def _rebuild(self, path: Path) -> bool:
        meta = read_file_meta_info(path)
        with self.database.read() as session:
            if session.get(Instance, str(meta.MediaStorageSOPInstanceUID)) is not None:
                return False
        data = data_set_of(path)
        uids = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        header = admit(data, str(meta.TransferSyntaxUID), *uids)
        peer = str(meta.get("SendingApplicationEntityTitle", ""))
        self._record(header, hashlib.sha256(data).hexdigest(), len(data), peer)
        return True


def data_set_of(path: Path) -> bytes:
    """Give the data set of a spool file as it came, without the file meta information (PS3.10 7.1)."""
    content = path.read_bytes()
    return content[META_START + int.from_bytes(content[META_LENGTH_AT], "little") :]


def is_intact(path: Path, sha256: str) -> bool:
    """Say whether a spool file is there and holds what was received."""
    return path.is_file() and hashlib.sha256(data_set_of(path)).hexdigest() == sha256


def part10(request: StoreRequest) -> bytes:
    """Write a preamble of zeros and file meta information of our own (PS3.10 7.1): a peer's never reaches the disk."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(request.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(request.sop_instance_uid)
    meta.TransferSyntaxUID = UID(request.transfer_syntax_uid)
    meta.ImplementationClassUID = implementation.CLASS_UID
    meta.SendingApplicationEntityTitle = request.calling_ae_title
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return b"\x00" * 128 + b"DICM" + buffer.getvalue()


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()[:64]
