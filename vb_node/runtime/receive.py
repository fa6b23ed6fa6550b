"""The station that answers C-STORE: nothing is answered Success before it is on disk.

Order: check the data set, write the spool file durably, answer; the ledger's row follows with those of others in one
commit, and is rebuilt from the spool where a crash comes between.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby, islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import pack

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import arrivals, associations, audit, stations
from storage.arrivals import Arrived
from storage.blocks import BLOCK, Content, windows
from storage.database import Database
from storage.disk import Disk
from storage.pen import Dry, Pen
from storage.spool import Spool, name_of
from vb_node.dicom.admission import MISSING_UID, Header, admit
from vb_node.dicom.structure import CANNOT_PARSE, TRUNCATED
from vb_node.dimse import implementation, status
from vb_node.dimse.scp import StoreRequest
from vb_node.errors import Refused
from vb_node.runtime.arrival import ElsewhereUnderway, Taken, Underway, note, put_down
from vb_node.runtime.line import RECEIVE

log = logging.getLogger(__name__)

STATION = RECEIVE
REBUILT_AT_ONCE = 200
ALIVE_S, YOUNG_S = 10.0, 600.0
META_START, META_LENGTH_AT = 144, slice(140, 144)
PRIVATE_START = 12  # bytes of Private Information before its value

HALF = (TRUNCATED, MISSING_UID)  # what a file shows that ends too early, in mid-element or between two

Write = Callable[[Session], None]


class Receiver:
    """Takes instances from peers and puts them on the shelf; stop it with ``close``. ``name``: of this process."""

    def __init__(self, database: Database, spool: Spool, disk: Disk | None = None, name: str = STATION) -> None:
        self.database = database
        self.spool = spool
        self.disk = disk
        self.name = name
        self._begun_at = time.time()
        self._pen: Pen[Taken | Write] = Pen(database, self._write_all)
        self._underway = Underway(spool.root)
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
            self.tell_refusal(request.calling_ae_title, request.host, request.sop_instance_uid, refused)
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
        arrived = _arrived(header, request.data, request.calling_ae_title, request.association_id)
        try:
            release = self._underway.claim(arrived)
            try:
                self._keep(request, Taken(arrived, request.host), release)
            except BaseException:
                release()
                raise
        except arrivals.Conflict as conflict:
            raise Refused(str(conflict), status.DUPLICATE) from conflict
        except (OSError, OperationalError, Dry, ElsewhereUnderway) as error:
            raise Refused(f"out of resources: {type(error).__name__}", status.OUT_OF_RESOURCES) from error

    def _keep(self, request: StoreRequest, taken: Taken, release: Callable[[], None]) -> None:
        """Have the instance on disk, and hand in what the ledger is to hold of it."""
        uid, sha256 = taken.arrived.sop_instance_uid, taken.arrived.sha256
        is_known = arrivals.is_known(self.database, taken.arrived)
        if is_known and self._see_again(taken) and is_intact(self.spool.path_of(uid, sha256), sha256):
            release()
            return
        self.spool.put(uid, sha256, part10(request), request.data)
        self._hand_in(taken, release)

    def _see_again(self, taken: Taken) -> bool:
        """Open the series of a known instance before it is answered: from here on retention leaves its file alone."""
        seen, done, arrived = [], threading.Event(), taken.arrived

        def see(session: Session) -> None:
            note(session, [taken], self.name)
            uid, over, now = arrived.sop_instance_uid, arrived.association_id, arrived.received_at
            seen.append(arrivals.see_again(session, uid, now=now, association_id=over))

        self._hand_in(taken, done.set, see)
        self._pen.settle()
        if not (done.is_set() and seen):
            raise Dry("the ledger cannot be written")
        return seen[-1]

    def _hand_in(self, taken: Taken, done: Callable[[], None], write: Write | None = None) -> None:
        self._pen.write(write or taken, done)
        if taken.arrived.association_id is not None:
            self._open.add(taken.arrived.association_id)

    def _write_all(self, session: Session, entries: Sequence[Taken | Write]) -> None:
        """Write what was handed in, instances that follow one another at once."""
        for is_taken, group in groupby(entries, lambda entry: isinstance(entry, Taken)):
            if is_taken:
                put_down(session, list(group), self.name)  # type: ignore[arg-type]
            else:
                for write in group:
                    write(session)  # type: ignore[operator]

    def end(self, association_id: str, is_released: bool) -> None:
        """Write down that an association that brought instances has ended, and how; after all that it brought."""
        if association_id not in self._open:
            return
        self._open.discard(association_id)
        now = time.time()

        def end(session: Session) -> None:
            associations.end(session, association_id, is_released=is_released, now=now)

        try:
            self._pen.leave(end, is_few=True)  # without it its studies count as arriving
        except Dry:
            log.exception("end of an association not recorded")  # this process ends, and the next one interrupts it

    def settle(self) -> None:
        """Wait until the ledger holds what was answered."""
        self._pen.settle()

    def close(self) -> None:
        self._pen.close()
        self._underway.close()

    def tell_rejection(self, calling_ae_title: str, host: str, why: str) -> None:
        """Write down that an association was rejected."""
        self._tell_no("association rejected", calling_ae_title, {"why": why, "host": host})

    def tell_refusal(self, calling_ae_title: str, host: str, sop_instance_uid: str, refused: Refused) -> None:
        """Write down that an instance was refused, or what may have held some."""
        details = {"status": f"{refused.status:04X}", "why": str(refused), "host": host}
        self._tell_no("instance refused", calling_ae_title, details, sop_instance_uid=sop_instance_uid[:64])

    def _tell_no(self, event: str, calling_ae_title: str, details: dict[str, str], **keys: str) -> None:
        keys["peer"] = calling_ae_title[:64]
        now = time.time()

        def tell(session: Session) -> None:
            audit.record(session, event, now=now, actor=STATION, outcome="refused", details=details, **keys)

        try:
            self._pen.leave(tell)  # it waits for space with the others
        except Dry:
            log.exception("refusal not recorded")

    def recover(self) -> int:
        """Rebuild the rows of files that a crash left without one, and return how many.

        A file that cannot be an arrival was never answered Success and does not stop the listener: half a file goes,
        any other is set aside. One that this or another process of the listener may just be writing is left alone.
        """
        files = self.spool.files()  # before the ledger is read: what comes in between is known by then
        with self.database.read() as session:
            for uid, sha256 in arrivals.kept(session) if files else ():
                files.pop(name_of(uid, sha256), None)
            are_others = stations.others(session, STATION, self.name, since=time.time() - ALIVE_S)
        young = min(self._begun_at, time.time() - YOUNG_S) if are_others else self._begun_at
        lost = map(Path, files.values())
        rebuilt = 0
        while found := list(islice(lost, REBUILT_AT_ONCE)):
            rebuilt += self._rebuild([taken for path in found if (taken := self._read(path, young)) is not None])
        return rebuilt

    def _read(self, path: Path, young: float) -> Taken | None:
        try:
            return self._read_whole(path, young)
        except OSError:  # also of what is done with a wrong one, which another process may just have done
            log.exception("spool file not read", extra={"file": path.name})
            return None

    def _read_whole(self, path: Path, young: float) -> Taken | None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")  # a disk that cannot read it says so here; mapped, it kills the process
        try:
            meta = read_file_meta_info(path)
            uids = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                start = _start_of_data_set(content[:META_START])
                header = admit(content, str(meta.TransferSyntaxUID), *uids, start=start)
                arrived = _arrived(header, content, str(meta.get("SendingApplicationEntityTitle", "")), start=start)
            if path == self.spool.path_of(arrived.sop_instance_uid, arrived.sha256):
                return Taken(arrived, "")
            raise Refused("the digest in the name of the file expected, another content came", CANNOT_PARSE)
        except (Refused, InvalidDicomError, EOFError, AttributeError) as error:
            if path.stat().st_mtime < young:
                is_half = not isinstance(error, Refused) or error.status in HALF
                _remove(path) if is_half else _set_aside(path)
        return None

    def _rebuild(self, taken: Sequence[Taken]) -> int:
        with self.database.write() as session:
            aside = put_down(session, taken, self.name)
        for one in aside:
            _set_aside(self.spool.path_of(one.sop_instance_uid, one.sha256))
        return len(taken) - len(aside)


def _remove(path: Path) -> None:
    log.warning("half a spool file removed", extra={"file": path.name})
    path.unlink()


def _set_aside(path: Path) -> None:
    log.warning("spool file set aside", extra={"file": path.name})
    path.rename(path.with_suffix(".rejected"))


def _arrived(header: Header, data: Content, peer: str, association_id: str | None = None, *, start: int = 0) -> Arrived:
    return Arrived(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        patient_id=header.patient_id,
        accession_number=header.accession_number,
        sha256=_digest_of(data, start),
        size_bytes=len(data) - start,
        peer=peer,
        received_at=time.time(),
        association_id=association_id,
    )


def _digest_of(data: Content, start: int) -> str:
    digest = hashlib.sha256()
    for window in windows(data, start):
        digest.update(window)
    return digest.hexdigest()


def _start_of_data_set(file: bytes) -> int:
    """Read where the file meta information ends, by its group length (PS3.10 7.1)."""
    return META_START + int.from_bytes(file[META_LENGTH_AT], "little")


def is_intact(path: Path, sha256: str) -> bool:
    """Say whether a spool file is there and holds what was received."""
    try:
        with path.open("rb") as file:
            file.seek(_start_of_data_set(file.read(META_START)))
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
    except OSError:
        log.exception("spool file not read", extra={"file": path.name})
        return False


def part10(request: StoreRequest) -> bytes:
    """Write a preamble of zeros and file meta information of our own (PS3.10 7.1): a peer's never reaches the disk.

    Its last element is as long as makes whole blocks of the file.
    """
    uid = _uid(0x0003, request.sop_instance_uid)
    before, after = _meta(request.sop_class_uid, request.transfer_syntax_uid, request.calling_ae_title)
    length = len(before) + len(uid) + len(after) + PRIVATE_START
    padding = -(META_START + length + len(request.data)) % BLOCK
    group = _element(0x0000, b"UL", pack("<HL", 4, length + padding))
    private = _element(0x0102, b"OB\0\0", pack("<L", padding) + bytes(padding))
    return b"".join((bytes(128), b"DICM", group, before, uid, after, private))


@lru_cache
def _meta(sop_class_uid: str, transfer_syntax_uid: str, calling_ae_title: str) -> tuple[bytes, bytes]:
    """Write what stands before and after the SOP Instance UID, the same for very many instances."""
    return (
        _element(0x0001, b"OB\0\0", pack("<L", 2) + b"\x00\x01") + _uid(0x0002, sop_class_uid),
        _uid(0x0010, transfer_syntax_uid)
        + _uid(0x0012, implementation.CLASS_UID)
        + _short(0x0017, b"AE", calling_ae_title.encode("ascii", "replace"), b" ")
        + _uid(0x0100, implementation.CLASS_UID),
    )


def _element(number: int, vr: bytes, length_and_value: bytes) -> bytes:
    return pack("<HH", 0x0002, number) + vr + length_and_value


def _short(number: int, vr: bytes, value: bytes, pad: bytes) -> bytes:
    value += pad * (len(value) % 2)
    return _element(number, vr, pack("<H", len(value)) + value)


def _uid(number: int, uid: str) -> bytes:
    return _short(number, b"UI", uid.encode("ascii", "replace"), b"\0")
