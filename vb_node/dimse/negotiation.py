"""The A-ASSOCIATE PDUs, read and written as bytes with bounds (PS3.8 9.3.2 to 9.3.4, PS3.7 annex D).

A library that builds an object for each of 128 presentation contexts takes longer than all the rest of a short
association, and accepts 2,000 of them (RELIABILITY M12).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct, pack, unpack_from

from vb_node.dimse import implementation
from vb_node.dimse.guard import HEADER, INVALID_PARAMETER, Broken

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ = 0x01, 0x02, 0x03
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
FIXED = Struct(">H2x16s16s32x")  # protocol version, called and calling AE title

_APPLICATION, _PROPOSED, _ACCEPTED, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAX_LENGTH, _CLASS_UID, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
ABSTRACT_UNKNOWN, TRANSFER_UNKNOWN = 3, 4  # PS3.8 table 9-18

PERMANENT, TRANSIENT = 1, 2
SERVICE_USER, ACSE_PROVIDER, PRESENTATION_PROVIDER = 1, 2, 3


@dataclass(frozen=True)
class Rejection:
    """Why an association is not accepted (PS3.8 9.3.4), and in words for the log."""

    result: int
    source: int
    diagnostic: int
    why: str

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.result, self.source, self.diagnostic

    def pdu(self) -> bytes:
        return HEADER.pack(A_ASSOCIATE_RJ, 4) + bytes((0, *self.numbers))


@dataclass(frozen=True)
class Context:
    """One presentation context that was agreed on."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True)
class Proposal:
    """One presentation context as the peer proposes it."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ; an AE title that is none (PS3.5 6.2) holds U+FFFD and equals nobody's."""

    protocol_version: int
    called: str
    calling: str
    titles: bytes
    application_context: str
    proposals: tuple[Proposal, ...]
    max_pdu: int
    scp_roles: frozenset[str] = frozenset()
    """SOP classes of which the peer proposes to be the provider (PS3.7 D.3.3.4)."""


def read(content: memoryview) -> Request:
    """Read the content of an A-ASSOCIATE-RQ; raise ``Broken`` where it has no structure."""
    if len(content) < FIXED.size:
        raise Broken("the A-ASSOCIATE-RQ is too short", INVALID_PARAMETER)
    version, called, calling = FIXED.unpack_from(content)
    application, proposals, user = "", [], []
    for kind, value in _items(content[FIXED.size :]):
        if kind == _APPLICATION:
            application = _uid(value)
        elif kind == _PROPOSED:
            proposals.append(_proposal(value))
        elif kind == _USER:
            user = list(_items(value))
    ids = [proposal.id for proposal in proposals]
    if len(set(ids)) < len(ids) or not all(number % 2 for number in ids):
        raise Broken("presentation context ids that are odd and differ expected", INVALID_PARAMETER)
    max_pdu = next((_number(item) for kind, item in user if kind == _MAX_LENGTH), 0)
    roles = frozenset(_uid(item[2:-2]) for kind, item in user if kind == _ROLE and bytes(item[-1:]) == b"\x01")
    titles = _title(called), _title(calling), called + calling
    return Request(version, *titles, application, tuple(proposals), max_pdu, roles)


def _items(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(content):
        if at + 4 > len(content):
            raise Broken("an item of the A-ASSOCIATE-RQ is cut", INVALID_PARAMETER)
        kind, length = unpack_from(">BxH", content, at)
        if at + 4 + length > len(content):
            raise Broken("an item of the A-ASSOCIATE-RQ is longer than the PDU", INVALID_PARAMETER)
        yield kind, content[at + 4 : at + 4 + length]
        at += 4 + length


def _proposal(value: memoryview) -> Proposal:
    if len(value) < 4:
        raise Broken("a presentation context is cut", INVALID_PARAMETER)
    items = list(_items(value[4:]))
    abstract = next((_uid(item) for kind, item in items if kind == _ABSTRACT), "")
    return Proposal(value[0], abstract, tuple(_uid(item) for kind, item in items if kind == _TRANSFER))


def _uid(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0 ").decode("ascii", "replace")


def _number(value: memoryview) -> int:
    return int.from_bytes(value, "big")


def _title(raw: bytes) -> str:
    text = raw.decode("ascii", "replace").strip(" ")
    return "".join(character if " " <= character < "\x7f" else "\ufffd" for character in text)


def agree(request: Request, accepted: Mapping[str, tuple[str, ...]]) -> dict[int, Context]:
    """Choose of each proposal the first of our transfer syntaxes that the peer offers (PS3.8 7.1.1.13)."""
    chosen = {}
    for proposal in request.proposals:
        ours = accepted.get(proposal.abstract_syntax, ())
        if syntax := next((one for one in ours if one in proposal.transfer_syntaxes), None):
            chosen[proposal.id] = Context(proposal.abstract_syntax, syntax)
    return chosen


def acceptance(
    request: Request, accepted: Mapping[str, tuple[str, ...]], max_pdu: int, users_of: Collection[str] = ()
) -> bytes:
    """Write the A-ASSOCIATE-AC (PS3.8 9.3.3); of the classes ``users_of`` the peer may be the provider."""
    agreed = agree(request, accepted)
    contexts = []
    for proposal in request.proposals:
        if proposal.id in agreed:
            result, syntax = 0, agreed[proposal.id].transfer_syntax
        else:
            result = TRANSFER_UNKNOWN if proposal.abstract_syntax in accepted else ABSTRACT_UNKNOWN
            syntax = next(iter(proposal.transfer_syntaxes), "")  # not to be looked at (PS3.8 9.3.3.2)
        contexts.append(
            _item(_ACCEPTED, bytes((proposal.id, 0, result, 0)) + _item(_TRANSFER, syntax.encode("latin-1", "replace")))
        )
    user = (
        _item(_MAX_LENGTH, pack(">L", max_pdu))
        + _item(_CLASS_UID, implementation.CLASS_UID.encode())
        + _item(_VERSION_NAME, implementation.VERSION_NAME.encode())
        + b"".join(_role(uid) for uid in sorted(request.scp_roles.intersection(users_of)))
    )
    content = b"".join(
        (
            pack(">HH", 1, 0),
            request.titles,
            bytes(32),
            _item(_APPLICATION, APPLICATION_CONTEXT.encode()),
            *contexts,
            _item(_USER, user),
        )
    )
    return HEADER.pack(A_ASSOCIATE_AC, len(content)) + content


def _role(sop_class_uid: str) -> bytes:
    return _item(_ROLE, pack(">H", len(sop_class_uid)) + sop_class_uid.encode() + b"\x00\x01")


def _item(kind: int, value: bytes) -> bytes:
    return pack(">BxH", kind, len(value)) + value
