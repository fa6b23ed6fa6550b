"""The kinds of destination: how each is sent to, asked for what it holds, and probed while it is down."""

from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from pydicom import dcmread
from pydicom.uid import UID

from storage.deliveries import Answer, Told
from storage.schema import Delivery
from storage.spool import write_durably
from vb_node.config import DestinationSettings
from vb_node.dicomweb import qido, service, stow
from vb_node.dimse import query, scu, status
from vb_node.dimse.tls import ClientTls, TlsFiles
from vb_node.errors import ConfigError, Later, NoAnswer, Unreachable


class Destination(Protocol):
    """What the deliverer needs of a destination."""

    def send(self, path: Path, delivery: Delivery) -> Told:
        """Send one result; raise ``Later`` or ``NotAccepted``."""
        ...

    def holds(self, wanted: query.Wanted) -> bool | None:
        """Say whether a result is there, None if that cannot be asked; raise ``Later``."""
        ...

    def count_by_series(self, study_instance_uid: str) -> dict[str, int]:
        """Give how many instances of each series of a study are there; raise ``Later`` or ``NotAccepted``."""
        ...

    def probe(self) -> None:
        """Return if the destination can be reached; raise ``Later``."""
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
                from vb_node.dicom import sr  # highdicom: the listener starts without it

                nonlocal sent_as
                document = sr.as_class(dcmread(original), sop_class_uid)
                sent_as = str(document.SOPClassUID), str(document.SOPInstanceUID)
                document.save_as(Path(scratch) / "document.dcm", enforce_file_format=True)
                return Path(scratch) / "document.dcm"

            try:
                value = scu.store(self.peer, self.calling, path, convert, self.timeouts)
            except NoAnswer as error:
                return Told("unsure", detail=str(error), sent_as=sent_as)
        detail = sent_as and f"sent as {UID(sent_as[0]).name}, instance {sent_as[1]}"
        return Told(status.meaning(value), value, detail, sent_as)

    def holds(self, wanted: query.Wanted) -> bool | None:
        if not self.can_query:
            return None
        try:
            return query.holds(self.peer, self.calling, wanted, self.timeouts)
        except (scu.NotAccepted, NoAnswer):
            return None  # some break off where others reject; to send again is safe, the UID is the same

    def count_by_series(self, study_instance_uid: str) -> dict[str, int]:
        return query.count_by_series(self.peer, self.calling, study_instance_uid, self.timeouts)

    def probe(self) -> None:
        try:
            scu.echo(self.peer, self.calling, self.timeouts)
        except scu.NotAccepted:
            return  # it answers: what it makes of our objects is for each delivery to find out


class ToService:
    """A DICOMweb service, by STOW-RS."""

    def __init__(self, settings: DestinationSettings) -> None:
        self.tls = tls_of(settings)
        self._service = service.Service(
            settings.url or "",
            settings.headers,
            settings.authorization_file,
            service.trust(settings.ca_file) if self.tls is None else self.tls.context(),
            connect_s=min(10.0, settings.timeout_s),
            answer_s=settings.timeout_s,
        )
        self.can_query = settings.query

    @property
    def service(self) -> service.Service:
        """The service, reached with the certificate as it is now; raise ``Unreachable`` while its files do not fit."""
        if self.tls is None:
            return self._service
        try:
            return replace(self._service, tls=self.tls.context())
        except ConfigError as error:
            raise Unreachable(str(error)) from error

    def send(self, path: Path, delivery: Delivery) -> Told:
        stored = stow.store(self.service, path, delivery.sop_instance_uid)
        if stored.word == "locked out":
            raise Unreachable(f"{self.service} answered {stored.detail}")
        is_clean = stored.word == "stored" and stored.reason is None
        value = status.SUCCESS if is_clean else stored.reason
        return Told(_answer(stored), value, stored.detail, wait_s=stored.wait_s)

    def holds(self, wanted: query.Wanted) -> bool | None:
        if not self.can_query:
            return None
        try:
            return qido.holds(self.service, *astuple(wanted))
        except NoAnswer:
            return None

    def count_by_series(self, study_instance_uid: str) -> dict[str, int]:
        return qido.count_by_series(self.service, study_instance_uid)

    def probe(self) -> None:
        qido.probe(self.service)


def _answer(stored: stow.Stored) -> Answer:
    """Read a Failure Reason as the C-STORE status that it is (PS3.18 table 10.5.3-2)."""
    if stored.word == "failed":
        return "refused" if stored.reason is None else status.meaning(stored.reason)
    words: dict[stow.Word, Answer] = {"stored": "stored", "busy": "busy", "unsure": "unsure", "too large": "impossible"}
    return words.get(stored.word, "refused")


class ToFolder:
    """A folder, on a disk that may be unmounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, path: Path, delivery: Delivery) -> Told:
        write_durably(self.folder / f"{delivery.sop_instance_uid}.dcm", path.read_bytes())
        return Told("stored", status.SUCCESS)

    def holds(self, _wanted: query.Wanted) -> bool | None:
        return None  # the same bytes under the same name: writing again is the answer

    def count_by_series(self, _study_instance_uid: str) -> dict[str, int]:
        return {}  # a folder counts nothing, and `assemble.ask` names none

    def probe(self) -> None:
        if not self.folder.parent.is_dir():
            raise Later(f"folder {self.folder.parent} is not there: mount it, or correct the destination")


def peer_of(settings: DestinationSettings) -> scu.Address:
    """Give where the AE of a destination listens."""
    return scu.Address(settings.ae_title or "", settings.host, settings.port, tls_of(settings))


def tls_of(settings: DestinationSettings) -> ClientTls | None:
    """Give how a destination is known and what it is shown, where it is reached by TLS."""
    asked = settings.tls
    if asked is None:
        return None
    return ClientTls(TlsFiles(asked.certificate, asked.key, asked.ca), asked.check_host)


def timeouts_of(settings: DestinationSettings) -> scu.Timeouts:
    return scu.Timeouts(connect_s=min(10.0, settings.timeout_s), answer_s=settings.timeout_s)


def open_destination(settings: DestinationSettings, ae_title: str) -> Destination:
    """Make the destination that a section of the configuration describes."""
    makes: dict[str, Callable[[], Destination]] = {
        "dimse": lambda: ToAe(settings, ae_title),
        "stow": lambda: ToService(settings),
        "folder": lambda: ToFolder(settings.folder or Path()),
    }
    return makes[settings.kind]()
