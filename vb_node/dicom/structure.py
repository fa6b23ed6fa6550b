"""The structure of an encoded data set, followed to its last byte: iteratively, in place, with limits (PS3.5 7).

Readers go on where they should stop: what one of them would take differently from another is refused here (all found
by tests/chaos/fuzz.py against DCMTK).
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap
from struct import unpack_from
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from vb_node.errors import Refused

MOST_ELEMENTS, MOST_DEPTH = 100_000, 32
UNDEFINED = 0xFFFFFFFF
LONGEST_VALUE = 1 << 16  # bytes of what is read
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
CANNOT_PARSE, TRUNCATED, TOO_MUCH = 0xC000, 0xC001, 0xC002

_LONG_VR = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT_VR = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
_VR = _LONG_VR.union(_SHORT_VR)  # of any other VR readers take the length differently (PS3.5 6.2)
_OPEN_VR = {b"OB", b"OW", b"SQ", b"UN"}  # these may be of undefined length

Kind = Literal["data set", "sequence", "fragments"]


@dataclass(frozen=True, slots=True)
class Level:
    """Where the walk is: in a data set (of an item or the whole), a sequence or encapsulated fragments.

    ``limit`` is the end of the level, or, where its length is undefined (``is_open``), of what surrounds it.
    """

    kind: Kind
    limit: int
    is_open: bool
    is_implicit: bool


def walk(
    data: bytes | mmap, is_implicit: bool, most_elements: int = MOST_ELEMENTS, *, start: int = 0
) -> Mapping[int, tuple[int, int]]:
    """Follow every length from ``start``; give (start of value, length) of each element of the data set itself, by tag.

    Raises
    ------
    Refused
        C001 when an element runs past the end of what holds it, C000 when there is no structure or an element comes
        twice, C002 past the limits of depth and count.
    """
    levels = [Level("data set", len(data), False, is_implicit)]
    found: dict[int, tuple[int, int]] = {}
    position, elements = start, 0
    while levels:
        level = levels[-1]
        if level.kind == "data set":
            seen = found if len(levels) == 1 else {}
            before = len(seen)
            position = _follow_plain(data, position, level, seen)
            elements += len(seen) - before
        if elements > most_elements or len(levels) > MOST_DEPTH:
            raise Refused(f"more than {most_elements} elements or {MOST_DEPTH} levels", TOO_MUCH)
        if position == level.limit and not level.is_open:
            levels.pop()
            continue
        tag, vr, length, value = _element(data, position, level.is_implicit)
        elements += 1
        if not _is_in_place(tag, vr, length, level):
            raise Refused(f"no DICOM structure at byte {position}", CANNOT_PARSE)
        if len(levels) == 1:
            if tag in found:
                raise Refused(f"element {tag:08X} expected once, it came twice", CANNOT_PARSE)
            found[tag] = value, length
        inner, end = _inner(tag, vr, length, level), value if length == UNDEFINED else value + length
        if end > level.limit:
            raise Refused(f"the element at byte {position} runs past the end of what holds it", TRUNCATED)
        if tag in (ITEM_END, SEQUENCE_END):
            levels.pop()
        elif inner is not None:
            is_open = length == UNDEFINED
            levels.append(Level(inner, level.limit if is_open else end, is_open, level.is_implicit or vr == b"UN"))
        position = end if inner is None else value
    return found


def values_at(data: bytes | mmap, places: Mapping[int, tuple[int, int]], wanted: Set[int]) -> dict[int, bytes]:
    """Read elements where the walk found them, ``LONGEST_VALUE`` bytes at most; none of undefined length."""
    found = {tag: places[tag] for tag in wanted & places.keys()}
    return {
        tag: data[start : start + min(length, LONGEST_VALUE)]
        for tag, (start, length) in found.items()
        if length != UNDEFINED
    }


def _follow_plain(data: bytes | mmap, position: int, level: Level, found: dict[int, tuple[int, int]]) -> int:
    """Follow elements that hold no others, into ``found``, and stop at whatever is not plainly one: quicker by far."""
    form = 4 if level.is_implicit else 6  # bytes before the length: the tag alone, or with a VR
    while position + 8 <= level.limit:
        tag = _plain_tag(data[position : position + form])
        start = position + 8
        length = int.from_bytes(data[position + form : start], "little")
        if tag is None or tag in found or start + length > level.limit:
            break
        found[tag] = start, length
        position = start + length
    return position


@lru_cache(maxsize=8192)
def _plain_tag(head: bytes) -> int | None:
    """Give the tag of an element of eight bytes before its value, None where it may hold others or may not stand."""
    group, element = unpack_from("<HH", head)
    tag, vr = group << 16 | element, head[4:]
    is_plain = vr in _SHORT_VR if vr else not _is_sequence(tag)
    return tag if is_plain and 0x0008 <= group != 0xFFFE else None


def _element(data: bytes | mmap, position: int, is_implicit: bool) -> tuple[int, bytes, int, int]:
    """Give (tag, VR, length, start of value) of the element at a position (PS3.5 7.1)."""
    try:
        group, element = unpack_from("<HH", data, position)
        tag, vr = group << 16 | element, data[position + 4 : position + 6]
        if is_implicit or group == 0xFFFE:
            return tag, b"", unpack_from("<L", data, position + 4)[0], position + 8
        if vr in _LONG_VR:
            return tag, vr, unpack_from("<L", data, position + 8)[0], position + 12
        return tag, vr, unpack_from("<H", data, position + 6)[0], position + 8
    except Exception as error:
        raise Refused(f"the data set ends within an element at byte {position}", TRUNCATED) from error


def _is_in_place(tag: int, vr: bytes, length: int, level: Level) -> bool:
    """Say whether an element may stand on a level (PS3.5 7.5 and A.4)."""
    if tag in (ITEM_END, SEQUENCE_END):
        return level.is_open and length == 0 and (tag == ITEM_END) == (level.kind == "data set")
    if tag == ITEM:
        return level.kind == "sequence" or (level.kind == "fragments" and length != UNDEFINED)
    is_known = 0x0008 <= tag >> 16 != 0xFFFE and (not vr or vr in _VR)
    return level.kind == "data set" and is_known and (length != UNDEFINED or _may_be_open(tag, vr))


def _inner(tag: int, vr: bytes, length: int, level: Level) -> Kind | None:
    """Say what an element holds, None for a plain value; UN of undefined length is a sequence (PS3.5 6.2.2)."""
    if tag == ITEM:
        return "data set" if level.kind == "sequence" else None
    if length == UNDEFINED:
        return "fragments" if vr in (b"OB", b"OW") else "sequence"
    return "sequence" if vr == b"SQ" or (level.is_implicit and _is_sequence(tag)) else None


def _may_be_open(tag: int, vr: bytes) -> bool:
    """Say whether an element may be of undefined length; without a VR the dictionary's counts (PS3.5 7.1.3, A.1)."""
    return vr in _OPEN_VR if vr else _is_sequence(tag) or not dictionary_has_tag(tag) or dictionary_VR(tag) == "UN"


@lru_cache(maxsize=8192)
def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
