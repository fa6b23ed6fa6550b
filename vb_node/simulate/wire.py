"""An association by hand: PDUs (PS3.8 9.3) and C-STORE and C-ECHO messages (PS3.7 9.3) straight onto a socket.

No library between us and the wire, so that a message can be cut, repeated or left half sent.
"""

import socket
from collections.abc import Iterator
from struct import pack, unpack_from
from types import TracebackType
from typing import Self

from vb_node.dimse import contexts, implementation
from vb_node.dimse.scu import Address
from vb_node.dimse.tls import ClientTls
from vb_node.simulate.series import Encoded

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, ABORT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
STORE_RQ, ECHO_RQ, HAS_DATA, NO_DATA = 0x0001, 0x0030, 0x0001, 0x0101
STORAGE_CONTEXT, ECHO_CONTEXT = 1, 3
COMMAND_LAST, DATA_LAST = 0x03, 0x02
PIECE, ANSWER_S = 16_000, 30.0


class Gone(Exception):
    """The node closed the connection, aborted or did not answer in time."""


class Rejected(Exception):
    """The node rejected the association: (result, source, reason) of PS3.8 9.3.4."""


class Wire:
    """One connection to a node, by TLS where its address says so; associated when ``associate`` has returned.

    Without ``shakes_hands`` a listener that expects TLS hears nothing.
    """

    def __init__(self, peer: Address, calling: str, *, shakes_hands: bool = True) -> None:
        self.peer, self.calling = peer, calling
        self._message_id = 0
        try:
            self._socket = socket.create_connection((peer.host, peer.port), timeout=ANSWER_S)
        except OSError as error:
            raise Gone(f"{peer} cannot be reached: check host and port, and that it listens") from error
        if peer.tls is not None and shakes_hands:
            self._secure(peer.tls)

    def _secure(self, tls: ClientTls) -> None:
        try:
            self._socket = tls.context().wrap_socket(self._socket, server_hostname=self.peer.host)
        except OSError as error:
            self._socket.close()
            raise Gone(
                f"no TLS with {self.peer} ({_why(error)}): check ca, certificate and key on both sides"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def associate(self, sop_class_uid: str) -> None:
        """Ask for an association with one storage class and Verification; raise ``Rejected`` or ``Gone``."""
        self.send(associate_rq(self.peer.ae_title, self.calling, sop_class_uid))
        kind, body = self.receive()
        if kind == ASSOCIATE_RJ:
            raise Rejected(*body[1:4])
        if kind != ASSOCIATE_AC:
            raise Gone(f"PDU {kind:02X} came instead of an answer to the association")

    def store(self, instance: Encoded) -> int:
        """Send one instance; give the status."""
        self.send(b"".join(self.store_pdus(instance)))
        return self._status()

    def store_pdus(self, instance: Encoded) -> Iterator[bytes]:
        """Give the PDUs of one C-STORE request, the command first."""
        yield _p_data(STORAGE_CONTEXT, COMMAND_LAST, self._command(STORE_RQ, instance))
        for start in range(0, max(1, len(instance.data)), PIECE):
            is_last = start + PIECE >= len(instance.data)
            yield _p_data(STORAGE_CONTEXT, DATA_LAST * is_last, instance.data[start : start + PIECE])

    def echo(self) -> int:
        self.send(_p_data(ECHO_CONTEXT, COMMAND_LAST, self._command(ECHO_RQ, None)))
        return self._status()

    def release(self) -> None:
        self.send(pack(">BxL4x", RELEASE_RQ, 4))
        self.receive()

    def abort(self) -> None:
        self.send(pack(">BxL4x", ABORT, 4))

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Gone(f"connection lost while sending ({_why(error)})") from error

    def receive(self, within_s: float = ANSWER_S) -> tuple[int, bytes]:
        """Give (type, content) of the next PDU; raise ``Gone``."""
        self._socket.settimeout(within_s)
        kind, length = unpack_from(">BxL", self._exactly(6))
        content = self._exactly(length)
        if kind == ABORT:
            raise Gone("the node aborted the association")
        return kind, content

    def is_closed_within(self, seconds: float) -> bool:
        """Wait for the node to close or abort the connection."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(4096):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            try:
                piece = self._socket.recv(size - len(got))
            except OSError as error:
                raise Gone(f"no answer ({_why(error)})") from error
            if not piece:
                raise Gone("the node closed the connection")
            got += piece
        return bytes(got)

    def _command(self, command_field: int, instance: Encoded | None) -> bytes:
        """Encode a command set: Implicit VR Little Endian, in ascending order (PS3.7 6.3)."""
        self._message_id += 1
        elements = [
            _element(0x0002, _uid(instance.sop_class_uid if instance else contexts.VERIFICATION)),
            _element(0x0100, pack("<H", command_field)),
            _element(0x0110, pack("<H", self._message_id)),
        ]
        if instance:
            elements += [_element(0x0700, pack("<H", 0))]
        elements += [_element(0x0800, pack("<H", HAS_DATA if instance else NO_DATA))]
        if instance:
            elements += [_element(0x1000, _uid(instance.sop_instance_uid))]
        body = b"".join(elements)
        return _element(0x0000, pack("<L", len(body))) + body

    def _status(self) -> int:
        """Read a response and give its Status (0000,0900)."""
        kind, content = self.receive()
        if kind != P_DATA:
            raise Gone(f"PDU {kind:02X} came instead of an answer")
        position = 6
        while position + 8 <= len(content):
            element, length = unpack_from("<2xHL", content, position)
            if element == 0x0900:
                return int(unpack_from("<H", content, position + 8)[0])
            position += 8 + length
        raise Gone("an answer without a status came")


def _why(error: OSError) -> str:
    """Name an error, one of TLS by its reason."""
    return getattr(error, "reason", None) or type(error).__name__


def associate_rq(called: str, calling: str, sop_class_uid: str) -> bytes:
    """Encode an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    explicit, implicit = contexts.NATIVE
    items = _item(0x10, APPLICATION_CONTEXT.encode())
    for number, abstract_syntax, syntax in (
        (STORAGE_CONTEXT, sop_class_uid, explicit),
        (ECHO_CONTEXT, contexts.VERIFICATION, implicit),
    ):
        offered = _item(0x30, abstract_syntax.encode()) + _item(0x40, syntax.encode())
        items += _item(0x20, bytes([number, 0, 0, 0]) + offered)
    names = _item(0x52, implementation.CLASS_UID.encode()) + _item(0x55, implementation.VERSION_NAME.encode())
    items += _item(0x50, _item(0x51, pack(">L", PIECE + 6)) + names)
    body = pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode()) + items
    return pack(">BxL", ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return pack(">BxH", kind, len(content)) + content


def _p_data(context_id: int, control: int, content: bytes) -> bytes:
    return pack(">BxLLBB", P_DATA, len(content) + 6, len(content) + 2, context_id, control) + content


def _element(element: int, value: bytes) -> bytes:
    return pack("<HHL", 0, element, len(value)) + value


def _uid(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)
