"""The export of the audit trail: line by line behind a cursor, so that nothing is lost while the repository is away."""

import logging
from dataclasses import replace

from storage import associations, exports
from storage.database import Database
from vb_node.config import AuditSettings, DestinationSettings, Settings
from vb_node.dimse.tls import ClientTls, TlsFiles
from vb_node.errors import Later
from vb_node.tell.audit_events import LEFT_OUT, MESSAGES, Around, Place, messages
from vb_node.tell.pause import Pause
from vb_node.tell.syslog import Repository, frame

log = logging.getLogger(__name__)

CURSOR = "audit repository"
KNOWN = {*MESSAGES, *LEFT_OUT}
LINES, PAUSE_S, RETRY_S = 500, 2.0, 15.0


def repository_of(audit: AuditSettings) -> Repository:
    """Give the repository of a configuration; raise ``ConfigError``."""
    tls = ClientTls(TlsFiles(audit.tls.certificate, audit.tls.key, audit.tls.ca), audit.tls.check_host, "audit.tls")
    tls.context()  # a wrong file is a matter of configuration, told at the start
    return Repository(audit.host, audit.port, tls, audit.close_notify)


class AuditExport:
    """Hands the audit trail to a repository, each line at least once, in order."""

    def __init__(self, database: Database, settings: Settings, audit: AuditSettings) -> None:
        self.database = database
        self.repository = repository_of(audit)
        source = audit.source or settings.node.ae_title
        places = {one.name: place_of(one) for one in settings.destinations}
        self.around = Around(source, settings.node.ae_title, audit.site, places=places)
        self._pause, self._is_away = Pause(), False

    def step(self, now: float) -> bool:
        """Hand on the next lines; give False if there are none, or it is too early.

        A pause lets the lines of a study gather, which one message then tells of.
        """
        if self._pause.holds(now):
            return False
        with self.database.read() as session:
            lines = exports.following(session, CURSOR, limit=LINES)
            uids = {one.sop_instance_uid for one in lines if one.event == "instance received"}
            hosts = associations.hosts(session, [uid for uid in uids if uid])
        if not lines:
            self._pause.begin(now, PAUSE_S)
            return False
        for unknown in {line.event for line in lines} - KNOWN:
            log.warning("event without an audit message", extra={"of": unknown})
        around = replace(self.around, hosts=hosts)
        frames = [frame(message, around.host) for message in messages(lines, around)]
        if not self._send(frames, now):
            return False
        with self.database.write() as session:
            exports.advance(session, CURSOR, lines[-1].seq)
        self._pause.begin(now, 0.0 if len(lines) == LINES else PAUSE_S)
        return True

    def _send(self, frames: list[bytes], now: float) -> bool:
        try:
            if frames:
                self.repository.send(frames)
        except Later as later:
            if not self._is_away:
                log.warning("audit repository away", extra={"why": str(later)})
            self._is_away = True
            self._pause.begin(now, RETRY_S)
            return False
        if self._is_away:
            log.info("audit repository back")
        self._is_away = False
        return True


def place_of(settings: DestinationSettings) -> Place:
    """Say where a destination is, as an audit message names it."""
    if settings.kind == "dimse":
        return Place(settings.ae_title, settings.host)
    return Place(None, settings.url or f"file://{settings.folder}")
