"""An instance between its answer and its row: known here, so that a second content under its UID is refused."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from storage import arrivals, audit
from storage.pen import Write
from storage.schema import Instance, Series
from vb_node.dicom.admission import Header

log = logging.getLogger(__name__)

ACTOR = "receive"


@dataclass(frozen=True)
class Arrival:
    """What came: its header, and the digest of its data set."""

    header: Header
    sha256: str

    @property
    def place(self) -> tuple[str, str]:
        return self.header.series_instance_uid, self.header.study_instance_uid


class Underway:
    """The arrivals that the ledger does not hold yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}  # by kind and UID: its value, how often

    def claim(self, arrival: Arrival) -> Callable[[], None]:
        """Hold an arrival until the function that is given is called.

        Raises
        ------
        Conflict
            Another content under its UID is underway, or another study with its series.
        """
        series, study = arrival.place
        claims = {
            ("instance", arrival.header.sop_instance_uid): (arrival.sha256, series),
            ("series", series): (study,),
        }
        with self._lock:
            for name, value in claims.items():
                if self._held.get(name, (value, 0))[0] != value:
                    raise arrivals.Conflict(f"{name[0]} {name[1]} is known with other content; the first is kept")
            for name, value in claims.items():
                self._held[name] = (value, self._held.get(name, (value, 0))[1] + 1)
        return lambda: self._release(list(claims))

    def _release(self, names: list[tuple[str, str]]) -> None:
        with self._lock:
            for name in names:
                value, count = self._held.pop(name)
                if count > 1:
                    self._held[name] = (value, count - 1)


def record_of(arrival: Arrival, size_bytes: int, peer: str, association_id: str | None = None) -> Write:
    """Give what writes the row of an arrival, received now."""
    header, now = arrival.header, time.time()

    def write(session: Session) -> None:
        instance = Instance(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            series_instance_uid=header.series_instance_uid,
            study_instance_uid=header.study_instance_uid,
            sha256=arrival.sha256,
            size_bytes=size_bytes,
            peer=peer,
            received_at=now,
            association_id=association_id,
        )
        series = Series(
            series_instance_uid=header.series_instance_uid,
            study_instance_uid=header.study_instance_uid,
            patient_id=header.patient_id,
            accession_number=header.accession_number,
            opened_at=now,
            last_arrival_at=now,
        )
        try:
            arrivals.record(session, instance, series, actor=ACTOR)
        except arrivals.Conflict as conflict:  # another process of the listener was first; the file is kept
            details = {"sha256": arrival.sha256, "why": str(conflict)}
            uid = header.sop_instance_uid
            log.error("instance set aside", extra={"sop_instance_uid": uid})
            audit.record(
                session,
                "instance set aside",
                now=now,
                actor=ACTOR,
                outcome="failure",
                details=details,
                peer=peer,
                sop_instance_uid=uid,
            )

    return write
