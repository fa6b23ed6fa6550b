"""DIMSE messages as bytes: P-DATA fragments in, command sets and answers out (PS3.7 6.3, PS3.8 9.3.5 and annex E)."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct, pack

from vb_node.dimse.body import Body, Content
from vb_node.dimse.guard import (
    A_ABORT,
    HEADER,
    INVALID_PARAMETER,
    UNEXPECTED_PDU,
    Broken,
    Limits,
    Wire,
)
from vb_node.dimse.negotiation import Context

P_DATA, A_RELEASE_RQ, A_RELEASE_RP = 0x04, 0x05, 0x06
PDV = Struct(">LBB")  # length, presentation context id, message control header
ELEMENT = Struct("<HHL")
IS_COMMAND, IS_LAST = 0x01, 0x02
LONGEST_COMMAND = 1 << 16

# Elements of group 0000 (PS3.7 E.1) and the commands that the node knows.
CLASS_UID, COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
DATA_SET_TYPE, STATUS, ERROR_COMMENT, INSTANCE_UID, EVENT_TYPE = 0x0800, 0x0900, 0x0902, 0x1000, 0x1002
NO_DATA_SET = 0x0101
C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ, RESPONSE = 0x0001, 0x0030, 0x0FFF, 0x8000
N_EVENT_REPORT_RQ, N_ACTION_RQ = 0x0100, 0x0130


@dataclass
class Message:
    """One DIMSE message; ``data`` is its data set as it came.

    It has none where it ``is_too_long`` for what is taken, or ``has_no_room`` on the disk while it comes.
    """

    context_id: int
    command: dict[int, bytes] = field(default_factory=dict)
    data: Content = b""
    is_too_long: bool = False
    has_no_room: bool = False

    def number(self, element: int) -> int | None:
        """Give a US element of the command set, None where there is none of two bytes."""
        value = self.command.get(element, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else None

    def uid(self, element: int) -> str:
        return self.command.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def messages(wire: Wire, contexts: Mapping[int, Context], limits: Limits) -> Generator[Message]:
    """Give each message of an established association until the peer releases it.

    Raises
    ------
    Broken
        The peer breaks off, or sends what no message has.
    """
    gathering: _Gathering | None = None
    while True:
        kind, content = wire.pdu(limits.max_pdu, is_in_message=gathering is not None)
        if kind == A_RELEASE_RQ:
            wire.part(HEADER.pack(A_RELEASE_RP, 4) + bytes(4))
            return
        if kind == A_ABORT:
            raise Broken("the peer aborted")
        if kind != P_DATA:
            raise Broken(f"PDU type {kind:02X} within an association", UNEXPECTED_PDU)
        for context_id, control, fragment in _fragments(content):
            gathering = gathering or _Gathering(context_id, limits)
            if context_id not in contexts or context_id != gathering.message.context_id:
                raise Broken("a fragment of a presentation context that is not agreed on", INVALID_PARAMETER)
            gathering.add(control, fragment)
            if gathering.is_whole:
                yield gathering.message
                gathering = None


def _fragments(content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    at = 0
    while at < len(content):
        if at + PDV.size > len(content):
            raise Broken("a presentation data value is cut", INVALID_PARAMETER)
        length, context_id, control = PDV.unpack_from(content, at)
        end = at + 4 + length
        if length < 2 or end > len(content):
            raise Broken("a presentation data value is longer than its PDU", INVALID_PARAMETER)
        yield context_id, control, content[at + PDV.size : end]
        at = end


class _Gathering:
    """Puts one message together of its fragments: first the command set, then the data set that it announces."""

    def __init__(self, context_id: int, limits: Limits) -> None:
        self.message = Message(context_id)
        self.is_whole = False
        self._longest, self._body = limits.max_instance_bytes, Body(limits.folder)
        self._command = bytearray()

    def add(self, control: int, fragment: memoryview) -> None:
        is_command = bool(control & IS_COMMAND)
        if is_command != (not self.message.command):
            raise Broken("command set and data set in turn expected", UNEXPECTED_PDU)
        if is_command:
            self._command += fragment
            if len(self._command) > LONGEST_COMMAND:
                raise Broken(f"a command set of {LONGEST_COMMAND} bytes at most expected", INVALID_PARAMETER)
            if control & IS_LAST:
                self.message.command = read_command(bytes(self._command))
                self.is_whole = self.message.number(DATA_SET_TYPE) == NO_DATA_SET
            return
        self._keep(fragment, is_last=bool(control & IS_LAST))
        self.is_whole = bool(control & IS_LAST)

    def _keep(self, fragment: memoryview, *, is_last: bool) -> None:
        message, body = self.message, self._body
        if message.is_too_long or message.has_no_room:
            return
        message.is_too_long = body.size + len(fragment) > self._longest
        try:
            if not message.is_too_long:
                body.add(fragment)
                message.data = body.content() if is_last else b""
        except OSError:
            message.has_no_room = True
        if is_last or message.is_too_long or message.has_no_room:
            body.close()


def read_command(content: bytes) -> dict[int, bytes]:
    """Read a command set, implicit VR little endian, by element number (PS3.7 6.3.1)."""
    command, at = {}, 0
    while at < len(content):
        if at + ELEMENT.size > len(content):
            raise Broken("the command set is cut", INVALID_PARAMETER)
        group, element, length = ELEMENT.unpack_from(content, at)
        at += ELEMENT.size
        if group != 0 or at + length > len(content):
            raise Broken("the command set has no structure", INVALID_PARAMETER)
        command[element] = content[at : at + length]
        at += length
    if not command:
        raise Broken("an empty command set", INVALID_PARAMETER)
    return command


def answer(request: Message, status: int, comment: str, max_pdu: int) -> bytes:
    """Write the response to a request in P-DATA PDUs that the peer can take (PS3.7 9.3.1.2)."""
    number = request.number(COMMAND_FIELD) or 0
    elements = {
        CLASS_UID: request.command.get(CLASS_UID, b""),
        COMMAND_FIELD: pack("<H", number | RESPONSE),
        RESPONDED_TO: request.command.get(MESSAGE_ID, b"\0\0"),
        DATA_SET_TYPE: pack("<H", NO_DATA_SET),
        STATUS: pack("<H", status),
    }
    if comment:
        elements[ERROR_COMMENT] = comment.encode("ascii", "replace")[:64].replace(b"\\", b"/").ljust(64)
    for given_back in (INSTANCE_UID, EVENT_TYPE):
        elements[given_back] = request.command.get(given_back, b"")
    written = b"".join(ELEMENT.pack(0, number, len(value)) + value for number, value in elements.items() if value)
    command = ELEMENT.pack(0, 0, 4) + pack("<L", len(written)) + written
    return b"".join(_pdus(request.context_id, command, max_pdu or len(command) + PDV.size))


def _pdus(context_id: int, command: bytes, max_pdu: int) -> Iterator[bytes]:
    room = max(max_pdu - PDV.size, 16)
    for start in range(0, len(command), room):
        piece = command[start : start + room]
        control = IS_COMMAND | (IS_LAST if start + room >= len(command) else 0)
        yield HEADER.pack(P_DATA, PDV.size + len(piece)) + PDV.pack(len(piece) + 2, context_id, control) + piece
