"""The listener: C-ECHO and C-STORE as provider (PS3.4 annexes A and B).

Nobody is answered who is not a known peer: the called AE title, the calling AE title and, where given, the peer's
address must fit (A-ASSOCIATE-RJ 1/1/7 and 1/1/3, PS3.8 9.3.4). pynetdicom keeps negotiation and messages.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import ThreadedAssociationServer

from vb_node.dimse import commitment, contexts, implementation, status
from vb_node.errors import ConfigError, Refused

log = logging.getLogger(__name__)

PERMANENT, SERVICE_USER = 0x01, 0x01
CALLING_AE_UNKNOWN, CALLED_AE_UNKNOWN = 0x03, 0x07


@dataclass(frozen=True)
class Peer:
    """Who may send; no ``hosts`` means from any address."""

    ae_title: str
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreRequest:
    """One C-STORE request: ``data`` is the data set as it came, in ``transfer_syntax_uid``."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes
    calling_ae_title: str
    host: str


@dataclass(frozen=True)
class Limits:
    """What the listener takes at most; ``timeout_s`` is for a silent association, ``answer_s`` for an open exchange."""

    max_associations: int = 64
    max_pdu: int = 131072
    timeout_s: float = 60.0
    answer_s: float = 30.0


OnStore = Callable[[StoreRequest], None]
OnReject = Callable[[str, str, str], None]


def listen(
    ae_title: str,
    address: tuple[str, int],
    on_store: OnStore,
    *,
    peers: Sequence[Peer] | None,
    on_reject: OnReject | None = None,
    on_commitment: commitment.OnReport | None = None,
    limits: Limits | None = None,
) -> ThreadedAssociationServer:
    """Start to listen in threads of this process; stop it with ``shutdown()``.

    ``on_store`` returns when the instance is safe and raises ``Refused`` with a status when it is not taken.
    ``peers`` None answers everybody. ``on_reject`` hears (calling AE title, host, why). ``on_commitment`` takes the
    reports of storage commitment that we asked for, and says whether it knows the transaction.
    """
    limits = limits or Limits()
    ae = implementation.entity(ae_title)
    ae.supported_contexts = contexts.accepted_as_scp()
    ae.maximum_associations = limits.max_associations
    ae.maximum_pdu_size = limits.max_pdu
    ae.acse_timeout = ae.dimse_timeout = limits.answer_s
    ae.network_timeout = limits.timeout_s
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, _send_at_once),
        (evt.EVT_REQUESTED, _check_peer, [ae_title, peers, on_reject]),
        (evt.EVT_C_ECHO, lambda _event: status.SUCCESS),
        (evt.EVT_C_STORE, _store, [on_store]),
    ]
    if on_commitment is not None:
        handlers += commitment.listen_for_reports(ae, on_commitment)
    try:
        server: Any = ae.start_server(address, block=False, evt_handlers=handlers)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address[0]}:{address[1]} ({error.strerror}): choose a free port and address"
        ) from error
    started: ThreadedAssociationServer = server
    return started


def _send_at_once(event: Any) -> None:
    """Switch Nagle's algorithm off: each answer is one small segment."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _check_peer(event: Any, ae_title: str, peers: Sequence[Peer] | None, on_reject: OnReject | None) -> None:
    requestor = event.assoc.requestor
    calling, called = requestor.primitive.calling_ae_title.strip(), requestor.primitive.called_ae_title.strip()
    if called != ae_title:
        diagnostic, why = CALLED_AE_UNKNOWN, "called AE title is not ours"
    elif peers is not None and not any(_is_peer(peer, calling, requestor.address) for peer in peers):
        diagnostic, why = CALLING_AE_UNKNOWN, "calling AE title or its address is not a known peer"
    else:
        return
    event.assoc.acse.send_reject(PERMANENT, SERVICE_USER, diagnostic)
    event.assoc.kill()  # waits until the rejection is on its way
    log.warning("association rejected", extra={"peer": calling, "host": requestor.address, "why": why})
    if on_reject is not None:
        on_reject(calling, str(requestor.address), why)


def _is_peer(peer: Peer, calling: str, host: str | None) -> bool:
    return peer.ae_title == calling and (not peer.hosts or host in peer.hosts)


def _store(event: Any, on_store: OnStore) -> int:
    request = StoreRequest(
        sop_class_uid=str(event.request.AffectedSOPClassUID),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        data=event.request.DataSet.getvalue() if event.request.DataSet else b"",
        calling_ae_title=event.assoc.requestor.ae_title.strip(),
        host=str(event.assoc.requestor.address),
    )
    ids = {"peer": request.calling_ae_title, "sop_instance_uid": request.sop_instance_uid[:64]}
    try:
        on_store(request)
    except Refused as refused:
        log.warning("instance refused", extra=ids | {"status": f"{refused.status:04X}", "why": str(refused)})
        return refused.status
    except Exception:
        log.exception("instance not stored", extra=ids)
        return status.OUT_OF_RESOURCES
    return status.SUCCESS
