"""The stations, what each of them turns in a process of its own.

A supervisor imports all of this once and forks the stations, so nothing here may load what is heavy (torch) or starts
threads.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping

from storage import audit
from storage.database import Database
from vb_node.config import AlertsSettings, Settings
from vb_node.errors import ConfigError
from vb_node.pipeline.application import furniture, installed
from vb_node.runtime import assemble, deliver, destinations, leftovers, retain, work
from vb_node.runtime.cell import Cell, in_cell
from vb_node.runtime.compare import Comparer
from vb_node.runtime.drift import DriftWatch
from vb_node.runtime.line import BEAT_S, RECEIVE, Station, Step, results_of, spool_of, turn, turn_beside, wanted
from vb_node.runtime.listen import listen_for_associations
from vb_node.runtime.node import WEB
from vb_node.runtime.routing import Router
from vb_node.tell.alerts import Channel, Lookout, Messenger
from vb_node.tell.export import AuditExport
from vb_node.tell.mail import Mail
from vb_node.tell.webhook import Webhook

log = logging.getLogger(__name__)

GIVES_WAY = 5  # niceness of what reads while instances come: who answers a peer has the processor first


def _assemble(database: Database, settings: Settings, stop: threading.Event, _number: int = 1) -> None:
    os.nice(GIVES_WAY)
    assembler = assemble.Assembler(database, spool_of(settings), settings, installed())
    turn(assemble.STATION, assembler.step, stop, database.changes, is_timed=True)  # a quiet time ends


def _work(database: Database, settings: Settings, stop: threading.Event, number: int = 1) -> None:
    if number == 1:
        leftovers.sweep(database, results_of(settings))
    names, cells = installed(), settings.data / "cells"
    read = furniture(names.values(), settings)
    routes = Router(settings, names).routes if settings.work.warm else ()
    plans = [(route.application.name, route.plan) for route in routes]
    cell, alone = Cell(cells, settings.work, read, plans), Cell(cells, settings.work, read, share=0.5, is_kept=False)
    stores = spool_of(settings), results_of(settings)
    worker = work.Worker(
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
    beside = turn_beside(steps if number == 1 else {}, database, stop)
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
        deliver.Deliverer(database, results_of(settings), destination, settings.node.ae_title).step
        for destination in settings.destinations
    ]
    threads = turn_beside(dict(zip((f"deliver {name}" for name in known), steps, strict=True)), database, stop)

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
    for thread in turn_beside(steps, database, stop):
        thread.join()


def _alerting(database: Database, settings: Settings, own: AlertsSettings) -> dict[str, Step]:
    node = settings.node.ae_title
    channels: dict[str, Channel] = {}
    if own.mail is not None:
        channels["mail"] = Mail(own.mail, node)
    if own.webhook is not None:
        channels["webhook"] = Webhook(own.webhook, node)
    expected = [*wanted(settings), *([WEB] if settings.web is not None else [])]
    lookout = Lookout(database, settings, own, retain.disk_of(settings), list(channels), expected)
    steps: dict[str, Step] = {"tell alerts": lookout.step}
    return steps | {f"tell {name}": Messenger(database, name, channel).step for name, channel in channels.items()}


STATIONS: Mapping[str, Station] = {
    RECEIVE: listen_for_associations,
    "assemble": _assemble,
    "work": _work,
    "deliver": _deliver,
    "tell": _tell,
    retain.STATION: retain.retain_files,
}
