"""The station that sends results to one destination, in order, until each is there or a person must look."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from storage import deliveries, outages
from storage.database import Database
from storage.deliveries import Told
from storage.schema import Delivery, Job
from vb_node.config import DestinationSettings
from vb_node.dimse import scu, status
from vb_node.dimse.query import Wanted
from vb_node.errors import Later, NoAnswer, Unreachable
from vb_node.runtime.commit import Committer
from vb_node.runtime.destinations import open_destination

log = logging.getLogger(__name__)

STATION = "deliver"
LEASE_S, BEAT_S = 30.0, 10.0
GONE = "the destination is not in the configuration (any more)"
FOUND = "it was there already: found by query, not sent again"
NOT_FOUND = (
    "the destination says that it has another instance of this UID, and a query does not find ours: compare them"
)
NOT_ASKED = (
    "the destination says that it has another instance of this UID, and does not tell whether it is ours, or is not "
    "asked (query = false): compare them"
)


class Deliverer:
    """Sends what waits for one destination."""

    def __init__(self, database: Database, results: Path, settings: DestinationSettings, ae_title: str) -> None:
        self.database = database
        self.results = results
        self.settings = settings
        self.destination = open_destination(settings, ae_title)
        self.committer = Committer(database, settings, ae_title) if settings.commitment else None
        self.patience_s = 3600 * settings.retry_for_h

    def step(self, now: float) -> bool:
        """Send one object, or probe a destination that is down; give False if nothing is due."""
        with self.database.write() as session:
            outlook = outages.look(session, self.settings.name, now=now)
            claimed = None
            if outlook == "up":
                claimed = deliveries.claim(session, self.settings.name, lease_s=LEASE_S, now=now)
            job = claimed and session.get_one(Job, claimed[0].job_id)
        if outlook == "probe":
            return self._probe(now)
        if claimed is None or job is None:
            return outlook == "up" and self.committer is not None and self.committer.step(now)
        delivery, lease = claimed
        begun = time.monotonic()
        with self._kept(lease, now):
            told = self._attempt(delivery, job)
            self._settle(lease, told, delivery, lambda: now + time.monotonic() - begun)
        if told.answer == "unsure":
            self._look_after_a_break(lambda: now + time.monotonic() - begun)
        return True

    @contextmanager
    def _kept(self, lease: deliveries.Lease, now: float) -> Iterator[None]:
        """Prolong the lease while an attempt lasts: the time that sending takes is the link's."""
        is_over, begun = threading.Event(), time.monotonic()

        def beat() -> None:
            while not is_over.wait(BEAT_S):
                try:
                    with self.database.write() as session:
                        deliveries.keep(session, lease, lease_s=LEASE_S, now=now + time.monotonic() - begun)
                except Exception:
                    log.exception("lease not prolonged", extra={"destination": self.settings.name})

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _probe(self, now: float) -> bool:
        name = self.settings.name
        silence = self._silence()
        if silence is not None:
            with self.database.write() as session:
                outages.keep(session, name, silence, now=now)
                deliveries.park_overdue(session, name, now=now, patience_s=self.patience_s, detail=silence)
            return False
        with self.database.write() as session:
            outages.end(session, name, now=now)
        log.info("destination up", extra={"destination": name})
        return True

    def _look_after_a_break(self, clock: Callable[[], float]) -> None:
        """Ask a destination that broke off, or fell silent, whether it is there: if it is silent, it is down."""
        silence = self._silence()
        if silence is not None:
            with self.database.write() as session:
                outages.keep(session, self.settings.name, silence, now=clock())

    def _silence(self) -> str | None:
        """Ask a destination whether it is there; give None if it is, else how it is not.

        One that breaks an exchange off is there: some do where a probe is all that is asked for.
        """
        begun = time.monotonic()
        try:
            self.destination.probe()
        except NoAnswer as broken:
            return str(broken) if time.monotonic() - begun >= self.settings.timeout_s else None
        except Later as later:
            return str(later)
        return None

    def _attempt(self, delivery: Delivery, job: Job) -> Told:
        try:
            return self._send(delivery, job)
        except Unreachable as error:
            return Told("unreachable", detail=str(error))
        except NoAnswer as error:
            return Told("unsure", detail=str(error))
        except (Later, OSError) as error:
            return Told("busy", detail=str(error))
        except scu.NotAccepted as error:
            return Told("refused", detail=str(error))
        except Exception as error:
            log.exception("delivery not done", extra={"job": delivery.job_id})
            return Told("refused", detail=f"unexpected {type(error).__name__}, see the log")

    def _send(self, delivery: Delivery, job: Job) -> Told:
        """Send one result, but ask first where it may have got through before; and ask when it is called known."""
        study, series = job.study_instance_uid, delivery.result.series_instance_uid
        sent_as = _pair(delivery.sent_sop_class_uid, delivery.sent_sop_instance_uid)
        if delivery.is_unsure and self.destination.holds(Wanted(study, series, _uid(delivery, sent_as))):
            return Told("stored", detail=FOUND, sent_as=sent_as)
        told = self.destination.send(self.results / delivery.result.path, delivery)
        if told.status != status.DUPLICATE:
            return told
        is_there = self.destination.holds(Wanted(study, series, _uid(delivery, told.sent_as)))
        if is_there:
            return replace(told, answer="stored", detail=FOUND)
        return replace(told, answer="impossible", detail=NOT_ASKED if is_there is None else NOT_FOUND)

    def _settle(self, lease: deliveries.Lease, told: Told, delivery: Delivery, clock: Callable[[], float]) -> None:
        """Write down what was answered; what is forgotten would be sent twice."""
        name, patience_s = self.settings.name, self.patience_s
        ids = {"job": delivery.job_id, "destination": name, "sop_instance_uid": delivery.sop_instance_uid}

        def settle(session: Session) -> Delivery:
            now, wants_commitment = clock(), self.settings.commitment
            if told.answer == "unreachable":
                outages.keep(session, name, told.detail or "", now=now)
            return deliveries.settle(
                session, lease, told, now=now, patience_s=patience_s, wants_commitment=wants_commitment
            )

        try:
            settled = self.database.persist(settle)
        except deliveries.LostLease:
            log.warning("delivery taken over", extra=ids)
            return
        words = {"state": settled.state, "status": scu.words_of(told.status), "why": told.detail}
        log.info("delivery", extra=ids | words)


def _pair(sop_class_uid: str | None, sop_instance_uid: str | None) -> tuple[str, str] | None:
    return (sop_class_uid, sop_instance_uid) if sop_class_uid and sop_instance_uid else None


def _uid(delivery: Delivery, sent_as: tuple[str, str] | None) -> str:
    return sent_as[1] if sent_as else delivery.sop_instance_uid


def park_lost(database: Database, known: list[str], now: float) -> None:
    """Park, visibly, what waits for a destination that the configuration does not name."""
    with database.read() as session:
        lost = deliveries.without_destination(session, known)
    for destination in lost:
        while True:
            with database.write() as session:
                claimed = deliveries.claim(session, destination, lease_s=LEASE_S, now=now)
                if claimed is None:
                    break
                deliveries.settle(session, claimed[1], Told("impossible", detail=GONE), now=now, patience_s=0.0)
