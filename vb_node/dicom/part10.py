"""The file meta information of a file that a stranger sends (PS3.10 7.1), read with bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from vb_node.dicom.structure import CANNOT_PARSE
from vb_node.errors import Refused

LONGEST_META = 1 << 16
START = 132
GROUP = b"\x02\x00"
LONG_VR = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SOP_CLASS, SOP_INSTANCE, TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


@dataclass(frozen=True)
class FileMeta:
    """What a file says of its data set, which begins at ``start``."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    start: int


def read(head: bytes) -> FileMeta:
    """Read the beginning of a file, ``LONGEST_META`` bytes of it or all.

    Raises
    ------
    Refused
        C000: it does not begin as a file of PS3.10.
    """
    if head[START - 4 : START] != b"DICM":
        raise Refused("a file of PS3.10 expected, without its preamble came", CANNOT_PARSE)
    elements = list(_elements(head))
    named = {number: head[start:end] for number, start, end in elements}
    uids = [
        named.get(number, b"").rstrip(b"\0 ").decode("ascii", "replace")
        for number in (SOP_CLASS, SOP_INSTANCE, TRANSFER_SYNTAX)
    ]
    if not all(uids):
        raise Refused("file meta information with SOP class, SOP instance and transfer syntax expected", CANNOT_PARSE)
    return FileMeta(uids[0], uids[1], uids[2], elements[-1][2])


def _elements(head: bytes) -> Iterator[tuple[int, int, int]]:
    """Give number, start and end of the value of each element of group 0002: explicit VR little endian."""
    at = START
    while head.startswith(GROUP, at):
        if at + 12 > len(head):
            raise Refused("the file meta information is cut", CANNOT_PARSE)
        number, vr, length = unpack_from("<2xH2sH", head, at)
        start = at + 8
        if vr in LONG_VR:
            length, start = unpack_from("<L", head, start)[0], start + 4
        at = start + length
        if at > len(head):
            raise Refused(f"file meta information within {LONGEST_META} bytes expected", CANNOT_PARSE)
        yield number, start, at
