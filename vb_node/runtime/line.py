"""The stations of the line: what each of them turns, in a process of its own, until it is told to stop."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import OperationalError

from storage import associations, audit, stations
from storage.database import Database
from storage.disk import Disk
from storage.spool import Spool
from vb_node.config import AlertsSettings, Settings
from vb_node.dimse import commitment, door, scp
from vb_node.dimse.guard import Limits
from vb_node.dimse.listener import Listener
from vb_node.dimse.tls import ServerTls, TlsFiles
from vb_node.errors import ConfigError
from vb_node.pipeline.application import furniture, installed
from vb_node.runtime import assemble, commit, deliver, destinations, leftovers, receive, retain, supervised, work
from vb_node.runtime.assemble import Assembler
from vb_node.runtime.cell import Cell, in_cell
from vb_node.runtime.compare import Comparer
from vb_node.runtime.deliver import Deliverer
from vb_node.runtime.drift import DriftWatch
from vb_node.runtime.receive import Receiver
from vb_node.runtime.work import Worker
from vb_node.tell.alerts import Channel, Lookout, Messenger
from vb_node.tell.export import AuditExport
from vb_node.tell.mail import Mail
from vb_node.tell.webhook import Webhook

log = logging.getLogger(__name__)

IDLE_S, LOOK_S, BEAT_S, JANITOR_S = 0.2, 0.05, 2.0, 60.0
SWITCH_S = 0.0005  # a connection that has to answer waits no longer for one that computes

Step = Callable[[float], bool]


class Server(Protocol):
    """What instances come through."""

    def leave(self) -> None:
        """Take nobody new from now on."""
        ...

    @property
    def is_deserted(self) -> bool:
        """Whether nobody is there."""
        ...

    def shutdown(self) -> None:
        """Finish what is in hand, and stop."""
        ...


Station = Callable[[Database, Settings, threading.Event, int], None]


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.data / "spool")


def results_of(settings: Settings) -> Path:
    return settings.data / "results"


def turn(station: str, step: Step, stop: threading.Event, changes: Callable[[], int] = int) -> None:
    """Call a station's step until told to stop; a bug in one step does not stop the line.

    A step that finds nothing is called again when ``changes`` gives another number, at the latest after ``IDLE_S``.
    """
    log.info("station ready", extra={"station": station})
    supervised.tell_ready()
    while not stop.is_set():
        seen = changes()
        try:
            is_busy = step(time.time())
        except Exception:
            log.exception("step failed", extra={"station": station})
            is_busy = False
            stop.wait(BEAT_S)
        if not is_busy:
            _rest(stop, changes, seen)


def _rest(stop: threading.Event, changes: Callable[[], int], seen: int) -> None:
    deadline = time.monotonic() + IDLE_S
    while not stop.wait(LOOK_S) and time.monotonic() < deadline and changes() == seen:
        pass


def listen(settings: Settings, receiver: Receiver, disk: Disk) -> Listener:
    """Start the listener that a configuration describes."""
    asked = settings.receive
    takes_reports = any(one.commitment for one in settings.destinations)
    services = commitment.services(commit.taker(receiver.database)) if takes_reports else None
    files = asked.tls and TlsFiles(asked.tls.certificate, asked.tls.key, asked.tls.ca, asked.tls.crl)
    return scp.listen(
        settings.node.ae_title,
        supervised.listening() or (asked.host, asked.port),
        receiver.store,
        peers=[door.Peer(one.ae_title, one.hosts, one.certificate, one.max_associations) for one in asked.peers],
        on_reject=receiver.tell_rejection,
        on_end=receiver.end,
        services=services,
        limits=limits_of(settings, disk),
        tls=ServerTls(files, asked.tls.require_peer) if files and asked.tls else None,
    )


def limits_of(settings: Settings, disk: Disk) -> Limits:
    """Give what is taken at most, by DIMSE and by HTTP."""
    asked = settings.receive
    return Limits(
        max_associations=asked.max_associations,
        max_pdu=asked.max_pdu,
        max_connections=asked.max_connections,
        max_connections_per_host=asked.max_connections_per_host,
        max_instance_bytes=asked.max_instance_mb << 20,
        stall_s=asked.stall_s,
        idle_s=asked.idle_s,
        is_full=disk.is_full,
    )


def take(
    database: Database, settings: Settings, stop: threading.Event, name: str, serve: Callable[[Receiver, Disk], Server]
) -> None:
    """Take instances through a server until told to stop, as a process of the station that receives."""
    spool, disk = spool_of(settings), retain.disk_of(settings)
    disk.mend()
    receiver = Receiver(database, spool, disk, name)
    since = time.time()
    with database.write() as session:
        stations.start(session, name, now=since)
        associations.interrupt(session, name, now=time.time())
    spool.prepare()
    spool.sweep()
    server = serve(receiver, disk)
    if rebuilt := receiver.recover():
        log.info("arrivals rebuilt from the spool", extra={"instances": rebuilt})

    def beat(now: float) -> bool:
        if disk.mend():
            log.info("disk has space again, or the reserve is new", extra={"free_bytes": disk.free_bytes})
        try:
            with database.write() as session:
                stations.hear(session, name, since=since, now=now)
        except OperationalError:
            receiver.spend_reserve()
            raise
        stop.wait(BEAT_S)
        return False

    threading.Thread(target=_leave, args=(server, stop), name="leave", daemon=True).start()
    turn(name, beat, stop)
    server.shutdown()
    receiver.close()


def _leave(server: Server, stop: threading.Event) -> None:
    """When told to, take nobody new, say so, and end the station when the last one has left."""
    supervised.leaving.wait()
    server.leave()
    supervised.tell_left()
    while not server.is_deserted:
        stop.wait(LOOK_S)
    stop.set()


def _receive(database: Database, settings: Settings, stop: threading.Event, number: int) -> None:
    sys.setswitchinterval(SWITCH_S)
    take(database, settings, stop, f"{receive.STATION} {number}", partial(listen, settings))


def _assemble(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    assembler = Assembler(database, spool_of(settings), settings, installed())
    turn(assemble.STATION, assembler.step, stop, database.changes)


def _work(database: Database, settings: Settings, stop: threading.Event, number: int = 1) -> None:
    if number == 1:
        leftovers.sweep(database, results_of(settings))
    names, cells = installed(), settings.data / "cells"
    read = furniture(names.values(), settings)
    cell, alone = Cell(cells, settings.work, read), Cell(cells, settings.work, read, share=0.5, is_kept=False)
    stores = spool_of(settings), results_of(settings)
    worker = Worker(
        database,
        *stores,
        in_cell(names, cell),
        settings.work,
        settings.node.ae_title,
        stop,
        {destination.name: destination.viewer_profile for destination in settings.destinations},
        in_cell(names, alone),
    )
    cell.start()
    _tell_walls(database, cell)
    steps = {"work compare": Comparer(database, *stores).step, "work drift": DriftWatch(database, settings.drift).step}
    beside = _turn_beside(steps if number == 1 else {}, database, stop)
    turn(work.STATION, worker.step, stop, database.changes)
    for thread in beside:
        thread.join()
    cell.end()


def _tell_walls(database: Database, cell: Cell) -> None:
    """Say what this machine does not let the computation give up: in the log, and in the audit trail."""
    if cell.lacking:
        log.warning("computation not confined", extra={"lacking": cell.lacking})
        with database.write() as session:
            event, details = "computation not confined", {"lacking": cell.lacking}
            audit.record(session, event, now=time.time(), actor=work.STATION, outcome="failure", details=details)


def _deliver(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    """Turn one deliverer a destination, so that one that is down does not hold up the others."""
    known = [destination.name for destination in settings.destinations]
    for secured in filter(None, map(destinations.tls_of, settings.destinations)):
        secured.context()  # a wrong file is a matter of configuration, told at the start
    steps = [
        Deliverer(database, results_of(settings), destination, settings.node.ae_title).step
        for destination in settings.destinations
    ]
    threads = _turn_beside(dict(zip((f"deliver {name}" for name in known), steps, strict=True)), database, stop)

    def park(now: float) -> bool:
        deliver.park_lost(database, known, now)
        stop.wait(BEAT_S)
        return False

    turn(deliver.STATION, park, stop)
    for thread in threads:
        thread.join()


def _tell(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    """Turn the export of the audit trail and the alerts, each for itself: whom one tells may hang or be away."""
    steps: dict[str, Step] = {}
    if settings.audit is not None:
        steps["tell audit"] = AuditExport(database, settings, settings.audit).step
    if settings.alerts is not None:
        steps |= _alerting(database, settings, settings.alerts)
    if not steps:
        raise ConfigError("[audit] or [alerts] of the configuration expected: nobody is to be told of anything")
    for thread in _turn_beside(steps, database, stop):
        thread.join()


def _alerting(database: Database, settings: Settings, own: AlertsSettings) -> dict[str, Step]:
    node, channels = settings.node.ae_title, dict[str, Channel]()
    if own.mail is not None:
        channels["mail"] = Mail(own.mail, node)
    if own.webhook is not None:
        channels["webhook"] = Webhook(own.webhook, node)
    lookout = Lookout(database, settings, own, retain.disk_of(settings), list(channels))
    steps: dict[str, Step] = {"tell alerts": lookout.step}
    return steps | {f"tell {name}": Messenger(database, name, channel).step for name, channel in channels.items()}


def _turn_beside(steps: Mapping[str, Step], database: Database, stop: threading.Event) -> list[threading.Thread]:
    """Turn each step in a thread of its own, until told to stop."""
    threads = [threading.Thread(target=turn, args=(name, step, stop, database.changes)) for name, step in steps.items()]
    for thread in threads:
        thread.start()
    return threads


def retain_files(settings: Settings, stop: threading.Event) -> None:
    """Turn the janitor once a minute, and at once again while it finds something."""
    database = Database(settings.database_url)
    committing = [one.name for one in settings.destinations if one.commitment]
    janitor = retain.Janitor(
        database, spool_of(settings), results_of(settings), retain.disk_of(settings), settings.retention, committing
    )

    def step(now: float) -> bool:
        return janitor.step(now) or stop.wait(JANITOR_S)

    turn(retain.STATION, step, stop)
    database.close()


STATIONS: dict[str, Station] = {
    "receive": _receive,
    "assemble": _assemble,
    "work": _work,
    "deliver": _deliver,
    "tell": _tell,
}


def wanted(settings: Settings) -> list[str]:
    """Name the stations that a configuration gives something to do."""
    return [name for name in STATIONS if name != "tell" or settings.audit or settings.alerts]
