"""The kinds of destination: how each is sent to, asked for what it holds, and probed while it is down."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from pydicom import dcmread
from pydicom.uid import UID

from storage.deliveries import Told
from storage.schema import Delivery
from storage.spool import write_durably
from vb_node.config import DestinationSettings
from vb_node.dicom import sr
from vb_node.dimse import query, scu, status
from vb_node.errors import Later


class Destination(Protocol):
    """What the deliverer needs of a destination."""

    def send(self, path: Path, delivery: Delivery) -> Told:
        """Send one result; raise ``Later`` or ``NotAccepted``."""
        ...

    def holds(self, delivery: Delivery, study_instance_uid: str) -> bool | None:
        """Say whether a result is there, None if that cannot be asked; raise ``Later``."""
        ...

    def probe(self) -> None:
        """Return if the destination can be reached; raise ``Later``."""
        ...

    def longest_s(self, path: Path) -> float:
        """Give the time that sending a file may take."""
        ...


class ToAe:
    """An Application Entity, by C-STORE."""

    def __init__(self, settings: DestinationSettings, ae_title: str) -> None:
        self.peer = peer_of(settings)
        self.calling = settings.calling_ae_title or ae_title
        self.timeouts = timeouts_of(settings)
        self.can_query = settings.query

    def send(self, path: Path, _delivery: Delivery) -> Told:
        sent_as: tuple[str, str] | None = None
        with TemporaryDirectory() as scratch:

            def convert(original: Path, sop_class_uid: str) -> Path:
                nonlocal sent_as
                document = sr.as_class(dcmread(original), sop_class_uid)
                sent_as = str(document.SOPClassUID), str(document.SOPInstanceUID)
                document.save_as(Path(scratch) / "document.dcm", enforce_file_format=True)
                return Path(scratch) / "document.dcm"

            value = scu.store(self.peer, self.calling, path, convert, self.timeouts)
        detail = sent_as and f"sent as {UID(sent_as[0]).name}, instance {sent_as[1]}"
        return Told(status.meaning(value), value, detail, sent_as)

    def holds(self, delivery: Delivery, study_instance_uid: str) -> bool | None:
        if not self.can_query:
            return None
        sop_instance_uid = delivery.sent_sop_instance_uid or delivery.sop_instance_uid
        wanted = query.Wanted(study_instance_uid, delivery.result.series_instance_uid, sop_instance_uid)
        try:
            return query.holds(self.peer, self.calling, wanted, self.timeouts)
        except (scu.NotAccepted, scu.NoAnswer):
            return None  # some break off where others reject; to send again is safe, the UID is the same

    def probe(self) -> None:
        try:
            scu.echo(self.peer, self.calling, self.timeouts)
        except scu.NotAccepted:
            return  # it answers: what it makes of our objects is for each delivery to find out

    def longest_s(self, path: Path) -> float:
        return self.timeouts.connect_s + self.timeouts.longest_s(path.stat().st_size)


class ToFolder:
    """A folder, on a disk that may be unmounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, path: Path, delivery: Delivery) -> Told:
        write_durably(self.folder / f"{delivery.sop_instance_uid}.dcm", path.read_bytes())
        return Told("stored", status.SUCCESS)

    def holds(self, _delivery: Delivery, _study_instance_uid: str) -> bool | None:
        return None  # the same bytes under the same name: writing again is the answer

    def probe(self) -> None:
        if not self.folder.parent.is_dir():
            raise Later(f"folder {self.folder.parent} is not there: mount it, or correct the destination")

    def longest_s(self, path: Path) -> float:
        return 30.0 + path.stat().st_size / scu.SLOWEST_BYTES_S


def peer_of(settings: DestinationSettings) -> scu.Address:
    """Give where the AE of a destination listens."""
    return scu.Address(settings.ae_title or "", settings.host, settings.port)


def timeouts_of(settings: DestinationSettings) -> scu.Timeouts:
    return scu.Timeouts(connect_s=min(10.0, settings.timeout_s), answer_s=settings.timeout_s)


def open_destination(settings: DestinationSettings, ae_title: str) -> Destination:
    """Make the destination that a section of the configuration describes."""
    makes: dict[str, Callable[[], Destination]] = {
        "dimse": lambda: ToAe(settings, ae_title),
        "folder": lambda: ToFolder(settings.folder or Path()),
    }
    return makes[settings.kind]()
