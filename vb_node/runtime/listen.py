"""The station that receives: it takes instances through a server, until it is told to stop.

What it imports is what it needs: it is the first to work when a node starts.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from sqlalchemy.exc import OperationalError

from storage import associations, stations
from storage.database import Database
from storage.disk import Disk
from vb_node.config import Settings
from vb_node.dimse import commitment, door, scp
from vb_node.dimse.guard import Limits
from vb_node.dimse.listener import Listener
from vb_node.dimse.places import Places
from vb_node.dimse.tls import ServerTls, TlsFiles
from vb_node.runtime import commit, receive, retain, supervised
from vb_node.runtime.arrival import locks_of
from vb_node.runtime.line import BEAT_S, LOOK_S, spool_of, turn
from vb_node.runtime.receive import Receiver

log = logging.getLogger(__name__)

SWITCH_S = 0.002  # a connection that has to answer waits no longer for one that computes


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


def listen(settings: Settings, receiver: Receiver, disk: Disk) -> Listener:
    """Start the listener that a configuration describes."""
    asked = settings.receive
    takes_reports = any(one.commitment for one in settings.destinations)
    services = commitment.services(commit.taker(receiver.database)) if takes_reports else None
    places = Places(locks_of(settings.node.data / "places.lock"))
    files = asked.tls and TlsFiles(asked.tls.certificate, asked.tls.key, asked.tls.ca, asked.tls.crl)
    return scp.listen(
        settings.node.ae_title,
        supervised.own.listening or (asked.host, asked.port),
        receiver.store,
        peers=[door.Peer(one.ae_title, one.hosts, one.certificate, one.max_associations) for one in asked.peers],
        on_reject=receiver.tell_rejection,
        on_refuse=receiver.tell_refusal,
        on_end=receiver.end,
        services=services,
        limits=replace(limits_of(settings, disk), places=places, is_shared=asked.process_count > 1),
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
        folder=settings.node.data,
    )


def take(
    database: Database, settings: Settings, stop: threading.Event, name: str, serve: Callable[[Receiver, Disk], Server]
) -> None:
    """Take instances through a server until told to stop, as a process of the station that receives."""
    spool, disk = spool_of(settings), retain.disk_of(settings)
    disk.mend()
    receiver = Receiver(database, spool, disk, name)
    with database.write() as session:
        since = stations.join(session, receive.STATION, name, launched=supervised.own.launched, now=time.time())
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


def listen_for_associations(database: Database, settings: Settings, stop: threading.Event, number: int) -> None:
    sys.setswitchinterval(SWITCH_S)
    take(database, settings, stop, f"{receive.STATION} {number}", partial(listen, settings))
