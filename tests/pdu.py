"""A peer that writes every byte itself: PDUs, right and wrong, over a raw socket (PS3.8 9.3, PS3.7 6.3)."""

import socket
import ssl
import time
from collections.abc import Sequence
from struct import pack, unpack

from processes import HOST
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
ECHO_CLASS = "1.2.840.10008.1.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ECHO_CONTEXT, STORE_CONTEXT = 1, 3
CONTEXTS = (
    (ECHO_CONTEXT, ECHO_CLASS, (ExplicitVRLittleEndian,)),
    (STORE_CONTEXT, MRImageStorage, (ExplicitVRLittleEndian,)),
)
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
C_STORE, C_ECHO = 0x0001, 0x0030

Context = tuple[int, str, Sequence[str]]


def pdu(kind: int, content: bytes, length: int | None = None) -> bytes:
    """Frame a content; ``length`` may lie."""
    return pack(">BxL", kind, len(content) if length is None else length) + content


def item(kind: int, value: bytes) -> bytes:
    return pack(">BxH", kind, len(value)) + value


def associate_rq(
    calling: bytes = b"SENDER",
    called: bytes = b"VBNODE",
    contexts: Sequence[Context] = CONTEXTS,
    version: int = 1,
    application_context: str = APPLICATION_CONTEXT,
    user: bytes = b"",
) -> bytes:
    """Write an A-ASSOCIATE-RQ."""
    proposed = b"".join(
        item(
            0x20,
            bytes((number, 0, 0, 0))
            + item(0x30, abstract.encode())
            + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes),
        )
        for number, abstract, syntaxes in contexts
    )
    items = item(0x10, application_context.encode()) + proposed
    items += item(0x50, item(0x51, pack(">L", 16384)) + item(0x52, b"2.25.1") + user)
    titles = called.ljust(16)[:16] + calling.ljust(16)[:16]
    return pdu(ASSOCIATE_RQ, pack(">HH", version, 0) + titles + bytes(32) + items)


def pdv(context: int, fragment: bytes, *, is_command: bool, is_last: bool = True) -> bytes:
    return pack(">LBB", len(fragment) + 2, context, is_command | is_last << 1) + fragment


def element(number: int, value: bytes) -> bytes:
    return pack("<HHL", 0, number, len(value)) + value


def uid_bytes(uid: str) -> bytes:
    raw = uid.encode("latin-1")
    return raw + bytes(len(raw) % 2)


def command(field: int, sop_class: str | None, sop_instance: str | None = None, **values: int) -> bytes:
    """Write the command set of a request; ``message_id`` and ``data_set_type`` may be given."""
    written = element(0x0002, uid_bytes(sop_class)) if sop_class is not None else b""
    written += element(0x0100, pack("<H", field)) + element(0x0110, pack("<H", values.get("message_id", 1)))
    if field == C_STORE:
        written += element(0x0700, pack("<H", 0))
    default = DATA_SET if field == C_STORE else NO_DATA_SET
    written += element(0x0800, pack("<H", values.get("data_set_type", default)))
    if sop_instance is not None:
        written += element(0x1000, uid_bytes(sop_instance))
    return element(0, pack("<L", len(written))) + written


def echo_rq(message_id: int = 1) -> bytes:
    return pdu(P_DATA, pdv(ECHO_CONTEXT, command(C_ECHO, ECHO_CLASS, message_id=message_id), is_command=True))


def encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def store_rq(dataset: Dataset | bytes, sop_class: str, sop_instance: str, context: int = STORE_CONTEXT) -> list[bytes]:
    """Write a C-STORE request: the command set's PDU, then the data set's, 16 kB each."""
    data = dataset if isinstance(dataset, bytes) else encoded(dataset)
    pieces = [data[start : start + 16000] for start in range(0, max(len(data), 1), 16000)]
    return [
        pdu(P_DATA, pdv(context, command(C_STORE, sop_class, sop_instance), is_command=True)),
        *(
            pdu(P_DATA, pdv(context, piece, is_command=False, is_last=number == len(pieces)))
            for number, piece in enumerate(pieces, 1)
        ),
    ]


class Raw:
    """A raw connection to a listener, from an address of the loopback network."""

    def __init__(self, port: int, source: str = HOST) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=30, source_address=(source, 0))

    def secure(self, context: ssl.SSLContext) -> "Raw":
        """Go on by TLS."""
        self.socket = context.wrap_socket(self.socket, server_hostname=HOST)
        return self

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> "Raw":
        self.socket.sendall(b"".join(pieces))
        return self

    def read(self) -> tuple[int, bytes]:
        """Read one PDU: type and content."""
        header = self._exactly(6)
        kind, length = unpack(">BxL", header)
        return kind, self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            piece = self.socket.recv(length - len(got))
            if not piece:
                raise ConnectionResetError("the node closed the connection")
            got += piece
        return got

    def associate(self, **request: object) -> tuple[int, bytes]:
        """Ask for an association and read the answer."""
        return self.send(associate_rq(**request)).read()  # type: ignore[arg-type]

    def status(self) -> int:
        """Read a response and give its status."""
        kind, content = self.read()
        assert kind == P_DATA, f"a response expected, PDU type {kind} came: {content.hex()}"
        at = content.index(pack("<HHL", 0, 0x0900, 2)) + 8
        return int.from_bytes(content[at : at + 2], "little")

    def ended(self, within_s: float) -> bytes:
        """Read until the node closes the connection and give what came; fail after a time."""
        got, until = b"", time.monotonic() + within_s
        self.socket.settimeout(0.1)
        while time.monotonic() < until:
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return got
            if not piece:
                return got
            got += piece
        raise AssertionError(f"the connection is still open after {within_s:g} s")

    def dribble(self, content: bytes, within_s: float) -> bool:
        """Send four bytes a second, one by one; say whether the node ended that in time."""
        until = time.monotonic() + within_s
        for byte in content:
            try:
                self.send(bytes([byte]))
            except ConnectionError:
                return True
            time.sleep(0.25)
            if time.monotonic() > until:
                return False
        return False

    def flood(self, first: bytes, then: bytes, times: int) -> bool:
        """Send much; say whether the node ended that."""
        try:
            self.send(first)
            for _ in range(times):
                self.send(then)
        except ConnectionError:
            return True
        return False


def abort(source: int, reason: int) -> bytes:
    return pdu(ABORT, bytes((0, 0, source, reason)))


def reject(*numbers: int) -> tuple[int, bytes]:
    return ASSOCIATE_RJ, bytes((0, *numbers))
