"""The listener: C-ECHO and C-STORE as provider (PS3.4 annexes A and B).

One thread serves a connection from its first byte to its last, so closing the one ends the other.
"""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

from vb_node.dimse import contexts, message, negotiation, status
from vb_node.dimse.body import Content
from vb_node.dimse.door import LIMIT_EXCEEDED, Door, Peer
from vb_node.dimse.guard import A_ABORT, UNEXPECTED_PDU, Broken, Limits, Stop, Wire
from vb_node.dimse.listener import Listener, bind
from vb_node.dimse.message import Message
from vb_node.dimse.negotiation import Rejection, Request
from vb_node.dimse.tls import ServerTls
from vb_node.errors import Refused

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreRequest:
    """One C-STORE request: ``data`` is the data set as it came, in ``transfer_syntax_uid``.

    ``association_id`` is the same for all requests of one association, and never that of another.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: Content
    calling_ae_title: str
    host: str
    association_id: str | None = None


@dataclass(frozen=True)
class Caller:
    """Who speaks on an established association."""

    ae_title: str
    host: str
    max_pdu: int
    association_id: str


OnStore = Callable[[StoreRequest], None]
OnReject = Callable[[str, str, str], None]
OnRefuse = Callable[[str, str, str, Refused], None]
OnEnd = Callable[[str, bool], None]
Service = Callable[[Message, negotiation.Context], int]


def listen(
    ae_title: str,
    where: tuple[str, int] | socket.socket,
    on_store: OnStore,
    *,
    peers: Sequence[Peer] | None,
    on_reject: OnReject | None = None,
    on_refuse: OnRefuse | None = None,
    on_end: OnEnd | None = None,
    services: Mapping[str, Service] | None = None,
    limits: Limits | None = None,
    tls: ServerTls | None = None,
) -> Listener:
    """Start to listen in threads of this process; stop it with ``shutdown()``.

    ``on_store`` returns when the instance is safe and raises ``Refused`` with a status when it is not taken.
    ``peers`` None answers everybody. ``on_reject`` hears (calling AE title, host, why), ``on_refuse`` (calling AE
    title, host, SOP Instance UID, why) of instances that ``on_store`` was not asked about, ``on_end`` (association id,
    whether it was released) of each association that was accepted. ``services`` answer the messages of further SOP
    classes with a status; of those the peer may be the provider, as with storage commitment (PS3.4 J.3.3).
    ``where`` is an address, or a listening socket that other processes may share.
    """
    limits = limits or Limits()
    stop = Stop()
    door = Door(ae_title, peers, limits, stop)
    hearers = _Hearers(on_store, on_reject or _deaf, on_refuse or _deaf, on_end or _deaf, services or {})
    listening = where if isinstance(where, socket.socket) else bind(where)
    return Listener(listening, _Server(door, hearers, limits, stop, tls).serve, limits, stop)


def _deaf(*_: object) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class _Hearers:
    """Who is told what comes."""

    on_store: OnStore
    on_reject: OnReject
    on_refuse: OnRefuse
    on_end: OnEnd
    services: Mapping[str, Service]


class _Server:
    """Serves one connection after the other in threads: negotiates, takes messages, answers them."""

    def __init__(self, door: Door, hearers: _Hearers, limits: Limits, stop: Stop, tls: ServerTls | None) -> None:
        self._door, self._hearers, self._limits, self._stop, self._tls = door, hearers, limits, stop, tls
        self._accepted = {str(one.abstract_syntax): tuple(one.transfer_syntax) for one in contexts.accepted_as_scp()}
        self._accepted |= dict.fromkeys(hearers.services, contexts.NATIVE)

    def serve(self, connection: socket.socket, host: str) -> None:
        """Serve one connection until it ends."""
        certificate = None
        if self._tls is not None:
            try:
                connection, certificate = self._tls.shake_hands(connection, self._limits.handshake_s)
            except OSError as error:
                why = getattr(error, "reason", None) or type(error).__name__
                log.warning("TLS handshake failed", extra={"host": host, "why": why})
                self._hearers.on_reject("", host, f"TLS handshake failed: {why}")
                return
        with connection:
            wire = Wire(connection, self._limits, self._stop)
            try:
                self._associate(wire, host, certificate)
            except Broken as broken:
                log.info("association broken", extra={"host": host, "why": str(broken)})
                if broken.reason is not None:
                    wire.abort(broken.reason)

    def _associate(self, wire: Wire, host: str, certificate: str | None) -> None:
        kind, content = wire.pdu(self._limits.first_pdu)
        if kind == A_ABORT:
            raise Broken("the peer aborted")
        if kind != negotiation.A_ASSOCIATE_RQ:
            raise Broken(f"an A-ASSOCIATE-RQ expected, PDU type {kind:02X} came", UNEXPECTED_PDU)
        request = negotiation.read(content)
        rejection = self._door.check(request, host, certificate)
        if rejection is not None:
            self._reject(wire, request, host, rejection)
            return
        with self._door.place(request.calling) as is_free:
            if not is_free:
                self._reject(wire, request, host, LIMIT_EXCEEDED)
                return
            services = self._hearers.services
            wire.send(negotiation.acceptance(request, self._accepted, self._limits.max_pdu, services))
            wire.opened()
            self._converse(wire, request, host)

    def _reject(self, wire: Wire, request: Request, host: str, rejection: Rejection) -> None:
        log.warning("association rejected", extra={"peer": request.calling, "host": host, "why": rejection.why})
        wire.part(rejection.pdu())
        self._hearers.on_reject(request.calling, host, rejection.why)

    def _converse(self, wire: Wire, request: Request, host: str) -> None:
        agreed = negotiation.agree(request, self._accepted)
        caller = Caller(request.calling, host, request.max_pdu, uuid4().hex)
        is_released = False
        try:
            with closing(message.messages(wire, agreed, self._limits)) as arriving:
                for one in arriving:
                    value, comment = self._act(one, agreed[one.context_id], caller)
                    if value is not None:
                        wire.send(message.answer(one, value, comment, caller.max_pdu))
            is_released = True
        finally:
            self._hearers.on_end(caller.association_id, is_released)

    def _act(self, one: Message, context: negotiation.Context, caller: Caller) -> tuple[int | None, str]:
        """Do what a message asks; give the status to answer, None for no answer, and a comment for people."""
        number = one.number(message.COMMAND_FIELD)
        if number is None or (number & message.RESPONSE):
            raise Broken("a DIMSE request expected", UNEXPECTED_PDU)
        if number == message.C_CANCEL_RQ:
            return None, ""
        if (service := self._hearers.services.get(context.abstract_syntax)) is not None:
            return service(one, context), ""
        if (fault := _fault(one, number, context)) is not None:
            return fault
        return (status.SUCCESS, "") if number == message.C_ECHO_RQ else self._store(one, context, caller)

    def _store(self, one: Message, context: negotiation.Context, caller: Caller) -> tuple[int, str]:
        ids = {"peer": caller.ae_title, "sop_instance_uid": one.uid(message.INSTANCE_UID)[:64]}
        try:
            if (refused := self._not_kept(one)) is not None:
                self._hearers.on_refuse(caller.ae_title, caller.host, one.uid(message.INSTANCE_UID), refused)
                raise refused
            self._hearers.on_store(_request(one, context, caller))
        except Refused as refused:
            log.warning("instance refused", extra=ids | {"status": f"{refused.status:04X}", "why": str(refused)})
            return refused.status, str(refused)
        except Exception:
            log.exception("instance not stored", extra=ids)
            return status.OUT_OF_RESOURCES, "an unexpected failure: send it again"
        return status.SUCCESS, ""

    def _not_kept(self, one: Message) -> Refused | None:
        """Say why the data set of a message was not kept, None if it was."""
        if one.is_too_long:
            return Refused(f"an instance of {self._limits.max_instance_bytes} bytes at most expected", status.TOO_LARGE)
        if one.has_no_room:
            return Refused("out of resources: no room on the disk, send it again", status.OUT_OF_RESOURCES)
        return None


def _fault(one: Message, number: int, context: negotiation.Context) -> tuple[int, str] | None:
    """Give what is wrong with the command set of a request, before it is acted on (PS3.7 9.1.1, annex C)."""
    if number not in (message.C_ECHO_RQ, message.C_STORE_RQ):
        return status.UNRECOGNISED_OPERATION, ""
    is_named = one.uid(message.INSTANCE_UID) or number == message.C_ECHO_RQ
    if one.number(message.MESSAGE_ID) is None or not one.uid(message.CLASS_UID) or not is_named:
        return status.MISTYPED_ARGUMENT, "Message ID and Affected SOP Class and Instance UID expected"
    is_echo = context.abstract_syntax == contexts.VERIFICATION
    if one.uid(message.CLASS_UID) != context.abstract_syntax or is_echo != (number == message.C_ECHO_RQ):
        return status.CLASS_NOT_SUPPORTED, "the SOP class is not that of the presentation context"
    return None


def _request(one: Message, context: negotiation.Context, caller: Caller) -> StoreRequest:
    return StoreRequest(
        sop_class_uid=context.abstract_syntax,
        sop_instance_uid=one.uid(message.INSTANCE_UID),
        transfer_syntax_uid=context.transfer_syntax,
        data=one.data,
        calling_ae_title=caller.ae_title,
        host=caller.host,
        association_id=caller.association_id,
    )
