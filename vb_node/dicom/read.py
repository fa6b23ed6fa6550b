"""Files -> headers: patient with what others wrote, and bounded against what would fill the memory."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from vb_node.errors import Unfit

MAX_INFLATED_BYTES = 2**30
PREFIX_AT, PREFIX = 128, b"DICM"  # PS3.10 7.1
# How a data set without a preamble begins: file meta information or group 0008, little or big endian.
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
# What pydicom raises where bytes are no DICOM, or an element is not what its value representation says.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Instance:
    """One file and its header (no pixels)."""

    path: Path
    header: Dataset


def read_header(path: Path) -> Dataset:
    """Read everything before the pixel data.

    A file without the preamble of PS3.10 is read too, if it names its SOP class.

    Raises
    ------
    Unfit
        The file is no DICOM object, or inflates beyond ``MAX_INFLATED_BYTES``.
    """
    try:
        _check_beginning(path)
        header = dcmread(path, stop_before_pixels=True, force=True)
    except DAMAGE as error:
        raise Unfit(f"expected a DICOM file, {path.name} is none ({type(error).__name__}): send it again") from error
    if not (value(header, "SOPClassUID") and value(header, "SOPInstanceUID")):
        raise Unfit(f"expected a DICOM file with a SOP class and instance, {path.name} has none")
    return header


def value(header: Dataset, keyword: str) -> Any:
    """Give the value of an attribute; None where it is absent, or damaged beyond reading."""
    try:
        return header.get(keyword)
    except DAMAGE:
        return None


def read_instances(paths: Iterable[Path]) -> list[Instance]:
    """Read the header of each file, in the order given."""
    return [Instance(path, read_header(path)) for path in paths]


def read_folder(folder: Path, *, is_deep: bool = True) -> dict[str, list[Instance]]:
    """Walk a folder, or look at its own files alone, and group its instances by series.

    What is not DICOM or cannot be read, and a DICOMDIR, are passed over.
    """
    series: dict[str, list[Instance]] = {}
    for path in sorted(_files(folder, is_deep=is_deep)):
        try:
            header = read_header(path)
        except Unfit:
            continue
        uid = value(header, "SeriesInstanceUID")
        if uid and header.SOPClassUID != MediaStorageDirectoryStorage:
            series.setdefault(str(uid), []).append(Instance(path, header))
    return series


def _files(folder: Path, *, is_deep: bool) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (path for path in (Path(parent, name) for name in names) if _is_file(path))
        if not is_deep:
            return


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # nobody may look
        return False


def _check_beginning(path: Path) -> None:
    """Refuse what is no DICOM file before pydicom takes all of its bytes for elements, and what inflates too far."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head[PREFIX_AT : PREFIX_AT + len(PREFIX)] != PREFIX and not head.startswith(FIRST_GROUPS):
        raise InvalidDicomError
    if DeflatedExplicitVRLittleEndian.encode() in head:
        _check_inflated_size(path)


def _check_inflated_size(path: Path) -> None:
    """Refuse a deflated data set that pydicom would inflate without a bound (PS3.5 A.5)."""
    raw, inflate, size = path.read_bytes(), zlib.decompressobj(-zlib.MAX_WBITS), 0
    # The group length of the file meta information says where the deflated part begins (PS3.10 7.1).
    rest = raw[144 + int.from_bytes(raw[140:144], "little") :]
    while rest and size <= MAX_INFLATED_BYTES:
        size += len(inflate.decompress(rest, 2**20))
        rest = inflate.unconsumed_tail
    if size > MAX_INFLATED_BYTES:
        raise Unfit(f"expected at most {MAX_INFLATED_BYTES} bytes inflated, {path.name} holds more")
