"""Alerts: a look at what is so, and a messenger a channel that tells of each change until it has arrived."""

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from storage import alerts, stations
from storage.database import Database
from storage.disk import Disk
from storage.schema import Notice
from vb_node.config import AlertsSettings, Settings
from vb_node.errors import Later
from vb_node.tell.conditions import conditions
from vb_node.tell.pause import Pause

log = logging.getLogger(__name__)

START_S, LOOK_S, IDLE_S = 5.0, 15.0, 2.0
YOUNG_S, SILENT_S = 10.0, 60.0  # of a station: so young at each look, it dies again and again
SECOND_TRY_S, LONGEST_WAIT_S = 30.0, 600.0
AT_ONCE = 100


class Channel(Protocol):
    """A way to those on duty."""

    def send(self, notices: Sequence[Notice]) -> None:
        """Tell of some changes at once; raise ``Later`` where they did not arrive."""
        ...


class Lookout:
    """Looks, now and then, at what is so, and puts what changed on the shelf NOTICES; ``stations`` should be up."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        own: AlertsSettings,
        disk: Disk,
        channels: Collection[str],
        stations: Collection[str] = (),
    ) -> None:
        self.database, self.settings, self.own, self.disk, self.channels = database, settings, own, disk, channels
        self.stations = stations
        self._not_up: set[str] = set()
        self._pause: Pause | None = None

    def step(self, now: float) -> bool:
        """Look, if it is time; first a moment after the start, in which the other stations put things in order."""
        if self._pause is None:
            self._pause = Pause()
            self._pause.begin(now, START_S)
        if self._pause.holds(now):
            return False
        self._pause.begin(now, LOOK_S)
        with self.database.read() as session:
            known = {(alert.kind, alert.subject) for alert in alerts.raised(session)}
        found = conditions(self.database, self.settings, self.own, self.disk, known, now, self._down(now))
        if known != {one.key for one in found}:
            with self.database.write() as session:
                alerts.settle(session, found, self.channels, now=now)
        return False

    def _down(self, now: float) -> list[str]:
        """Name the stations that were not up at two looks in a row: one that is started again is up at the second."""
        with self.database.read() as session:
            up = stations.up(session, heard_since=now - SILENT_S, began_until=now - YOUNG_S, now=now)
        former, self._not_up = self._not_up, set(self.stations) - up
        return sorted(former & self._not_up)


class Messenger:
    """Tells by one channel what is on the shelf; what did not arrive is told again, slower and slower."""

    def __init__(self, database: Database, name: str, channel: Channel) -> None:
        self.database, self.name, self.channel = database, name, channel
        self._pause, self._failures = Pause(), 0

    def step(self, now: float) -> bool:
        """Tell what waits, all at once; give False if nothing does, or it did not arrive."""
        if self._pause.holds(now):
            return False
        with self.database.read() as session:
            notices = alerts.pending(session, self.name, limit=AT_ONCE)
        if not notices:
            self._pause.begin(now, IDLE_S)
            return False
        try:
            self.channel.send(notices)
        except Later as later:
            wait_s = min(SECOND_TRY_S * 2.0 ** min(self._failures, 8), LONGEST_WAIT_S)
            self._failures += 1
            self._pause.begin(now, wait_s)
            log.warning("alert not sent", extra={"channel": self.name, "why": str(later)})
            return False
        with self.database.write() as session:
            alerts.arrived(session, notices)
        self._failures = 0
        log.info("alert sent", extra={"channel": self.name, "changes": len(notices)})
        return True
