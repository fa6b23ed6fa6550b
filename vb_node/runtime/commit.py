"""Storage commitment of what was sent: asks each destination that offers it, and takes the reports."""

import logging
import time
from collections.abc import Callable

from pydicom.uid import generate_uid

from storage import commitments, outages
from storage.database import Database
from vb_node.config import DestinationSettings
from vb_node.dimse import commitment, scu
from vb_node.errors import Later, Unreachable
from vb_node.runtime.destinations import peer_of, timeouts_of

log = logging.getLogger(__name__)


class Committer:
    """Asks one destination to commit itself to the results of a job, once they are all sent."""

    def __init__(self, database: Database, settings: DestinationSettings, ae_title: str) -> None:
        self.database = database
        self.settings = settings
        self.calling = settings.calling_ae_title or ae_title

    def step(self, now: float) -> bool:
        """Ask for one job; give False if none is due."""
        name, transaction_uid = self.settings.name, str(generate_uid(prefix=None))
        with self.database.write() as session:
            commitments.give_up(session, name, now=now)
            instances = commitments.begin(session, name, transaction_uid, now=now)
        if not instances:
            return False
        try:
            self._request(transaction_uid, instances, now)
        except (Later, scu.NotAccepted) as error:
            is_down = isinstance(error, Unreachable)
            log.warning("commitment not requested", extra={"destination": name, "why": str(error)})
            with self.database.write() as session:
                commitments.put_off(session, transaction_uid, str(error), now=now, is_down=is_down)
                if is_down:
                    outages.keep(session, name, str(error), now=now)
        return True

    def _request(self, transaction_uid: str, instances: list[tuple[str, str]], now: float) -> None:
        on_report = taker(self.database, lambda: now)
        peer, timeouts = peer_of(self.settings), timeouts_of(self.settings)
        commitment.request(peer, self.calling, transaction_uid, instances, on_report, timeouts)
        ids = {"destination": self.settings.name, "transaction_uid": transaction_uid, "instances": len(instances)}
        log.info("commitment requested", extra=ids)


def taker(database: Database, clock: Callable[[], float] = time.time) -> commitment.OnReport:
    """Make what takes a report to the ledger, and says whether its transaction is known."""

    def take(report: commitment.Report) -> bool:
        with database.write() as session:
            is_known = commitments.report(session, report.transaction_uid, report.stored, report.failed, now=clock())
        words = {
            "transaction_uid": report.transaction_uid[:64],
            "stored": len(report.stored),
            "failed": len(report.failed),
            "is_known": is_known,
        }
        log.info("commitment reported", extra=words)
        return is_known

    return take
