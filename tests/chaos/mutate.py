"""Mutators of data sets and of PDUs: they know where elements begin and nothing else of DICOM, and use no library."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from struct import error as struct_error
from struct import pack_into, unpack_from

UNDEFINED = 0xFFFFFFFF
LONG_VR = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
VRS = (*LONG_VR, b"UI", b"US", b"UL", b"DS", b"IS", b"PN", b"LO", b"AT", b"FD", b"ZZ", b"??", b"\0\0", b"sq")
TAGS = (
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    b"\xe0\x7f\x10\x00",
    b"\x02\x00\x10\x00",
    b"\0" * 4,
)
LENGTHS = (0, 1, 2, 7, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED)
HEAD = 4096  # where headers lie: most mutations of the pixels behind it teach nothing


@dataclass(frozen=True)
class DataSet:
    """A data set as it goes over the network; ``starts`` are the offsets at which elements and items begin."""

    data: bytes
    is_implicit: bool
    starts: tuple[int, ...]


def data_set(data: bytes, *, is_implicit: bool) -> DataSet:
    """Note where every element begins; sequences and items of undefined length are entered, others stepped over."""
    starts, position = [], 0
    while position + 8 <= len(data):
        starts.append(position)
        length, size = _length(data, position, is_implicit)
        position += size if length == UNDEFINED else size + length
    return DataSet(data, is_implicit, tuple(starts))


def _length(data: bytes, position: int, is_implicit: bool) -> tuple[int, int]:
    """Give (length, size of tag, VR and length) of an element (PS3.5 7.1)."""
    try:
        if is_implicit or data[position : position + 2] == b"\xfe\xff":
            return unpack_from("<L", data, position + 4)[0], 8
        if data[position + 4 : position + 6] in LONG_VR:
            return unpack_from("<L", data, position + 8)[0], 12
        return unpack_from("<H", data, position + 6)[0], 8
    except struct_error:
        return 0, 8


def mutated(chance: random.Random, seed: DataSet, other: DataSet) -> bytes:
    """Change a data set in one to three ways."""
    data = bytearray(seed.data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        chance.choice(MUTATORS)(chance, data, seed, other)
    return bytes(data)


def _offset(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(max(1, min(len(data), HEAD) if chance.random() < 0.9 else len(data)))


def _start(chance: random.Random, data: bytearray, seed: DataSet) -> int:
    return min(chance.choice(seed.starts), max(0, len(data) - 12))


def flip_bits(chance: random.Random, data: bytearray, _seed: DataSet, _other: DataSet) -> None:
    for _ in range(chance.choice((1, 1, 2, 8))):
        if data:
            data[_offset(chance, data)] ^= 1 << chance.randrange(8)


def edit_length(chance: random.Random, data: bytearray, seed: DataSet, _other: DataSet) -> None:
    at = _start(chance, data, seed)
    if len(data) < at + 12:
        return
    length, size = _length(data, at, seed.is_implicit)
    wanted = chance.choice((*LENGTHS, length + 1, length + 2, max(0, length - 2), length * 2)) & UNDEFINED
    if size == 8 and not seed.is_implicit and data[at : at + 2] != b"\xfe\xff":
        pack_into("<H", data, at + 6, wanted & 0xFFFF)
    else:
        pack_into("<L", data, at + size - 4, wanted)


def swap_tag(chance: random.Random, data: bytearray, seed: DataSet, _other: DataSet) -> None:
    at, other = _start(chance, data, seed), _start(chance, data, seed)
    data[at : at + 4] = chance.choice((*TAGS, bytes(data[other : other + 4])))


def swap_vr(chance: random.Random, data: bytearray, seed: DataSet, _other: DataSet) -> None:
    at = _start(chance, data, seed)
    data[at + 4 : at + 6] = chance.choice(VRS)


def splice(chance: random.Random, data: bytearray, seed: DataSet, other: DataSet) -> None:
    """Go on with the elements of another data set."""
    data[_start(chance, data, seed) :] = other.data[chance.choice(other.starts) :]


def repeat(chance: random.Random, data: bytearray, seed: DataSet, _other: DataSet) -> None:
    """Put some elements in a second time."""
    first, last = sorted((_start(chance, data, seed), _start(chance, data, seed)))
    data[last:last] = data[first:last]


def drop(chance: random.Random, data: bytearray, seed: DataSet, _other: DataSet) -> None:
    first, last = sorted((_start(chance, data, seed), _start(chance, data, seed)))
    del data[first:last]


def truncate(chance: random.Random, data: bytearray, _seed: DataSet, _other: DataSet) -> None:
    del data[_offset(chance, data) :]


def insert_noise(chance: random.Random, data: bytearray, _seed: DataSet, _other: DataSet) -> None:
    at = _offset(chance, data)
    data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 64)))


Mutator = Callable[[random.Random, bytearray, DataSet, DataSet], None]
MUTATORS: tuple[Mutator, ...] = (
    flip_bits,
    edit_length,
    edit_length,
    swap_tag,
    swap_vr,
    splice,
    repeat,
    drop,
    truncate,
    insert_noise,
)


def mutated_pdus(chance: random.Random, pdus: list[bytes]) -> list[bytes]:
    """Change a sequence of PDUs in one to three ways."""
    changed = [bytearray(pdu) for pdu in pdus]
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(changed))
        pdu = changed[at]
        way = chance.randrange(7)
        if way < 3 and pdu:
            for _ in range(chance.choice((1, 2, 16))):
                pdu[chance.randrange(min(len(pdu), 512))] = chance.randrange(256)
        elif way == 3 and len(pdu) >= 6:
            pack_into(">L", pdu, 2, chance.choice((*LENGTHS, len(pdu) - 5, len(pdu) - 7)) & UNDEFINED)
        elif way == 4:
            changed[at : at + 1] = [pdu, bytearray(pdu)]
        elif way == 5 and len(changed) > 1:
            del changed[at]
        else:
            del pdu[chance.randrange(max(1, len(pdu))) :]
    return [bytes(pdu) for pdu in changed]
