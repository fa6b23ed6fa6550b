"""One instance -> its frames as float32, rescaled, whatever the transfer syntax.

Modality units only: real world value mapping and private scaling (Philips) are not applied. Values are read as
PS3.5 8.1.1 stores them: BitsStored of BitsAllocated, below HighBit, signed or not.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from vb_node.dicom.codestream import FrameSize, frame_size, is_cut_short
from vb_node.dicom.frames import look_up, number_of_frames, places_of
from vb_node.dicom.read import DAMAGE, value
from vb_node.errors import UnreadablePixels
from vb_node.types import Floats, Matrix

# 512 x 512 x 1024, more than any head: 1 GiB as float32.
MAX_VOXELS = 2**28
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


def read_frames(path: Path, header: Dataset, frame_numbers: Sequence[int] | None = None) -> Floats:
    """Decode frames of one instance and rescale them.

    ``frame_numbers`` count from 1; by default all. Returns (frames, rows, columns).

    Raises
    ------
    UnreadablePixels
        Colour, missing, short or damaged pixel data, an absurd size, or a codestream of another size than the header.
    """
    _check_grey(header)
    numbers = list(frame_numbers or range(1, number_of_frames(header) + 1))
    stored = _read_in_place(path, header)
    values = _decode(path, header, numbers) if stored is None else stored[[number - 1 for number in numbers]]
    return _rescaled(values, *_rescale(header, numbers))


def is_compressed(header: Dataset) -> bool:
    return bool(_transfer_syntax(header).is_encapsulated)


def _transfer_syntax(header: Dataset) -> UID:
    """Name the transfer syntax; without meta information it is Implicit VR Little Endian (PS3.5 10.1)."""
    meta = getattr(header, "file_meta", None)
    syntax = UID(str(value(meta, "TransferSyntaxUID") or ImplicitVRLittleEndian)) if meta else ImplicitVRLittleEndian
    if not syntax.is_transfer_syntax:
        raise UnreadablePixels(f"instance {header.SOPInstanceUID} has an unknown transfer syntax ({syntax})")
    return syntax


def _check_grey(header: Dataset) -> None:
    uid = str(header.SOPInstanceUID)
    photometric = str(value(header, "PhotometricInterpretation") or "MONOCHROME2")
    if not photometric.startswith("MONOCHROME") or (value(header, "SamplesPerPixel") or 1) != 1:
        raise UnreadablePixels(f"instance {uid} is a colour image ({photometric}): expected a grey one")
    bits_allocated = value(header, "BitsAllocated")
    bits_stored = value(header, "BitsStored") or bits_allocated
    if bits_allocated not in (8, 16, 32) or bits_stored not in range(1, bits_allocated + 1):
        raise UnreadablePixels(f"instance {uid} has {bits_stored} bits in {bits_allocated}: expected 8, 16 or 32")
    if int(header.Rows) * int(header.Columns) * number_of_frames(header) > MAX_VOXELS:
        raise UnreadablePixels(
            f"instance {uid} claims {number_of_frames(header)} frames of {header.Rows} x {header.Columns}: "
            f"expected at most {MAX_VOXELS} voxels"
        )


def _bits_stored(header: Dataset) -> int:
    return int(value(header, "BitsStored") or header.BitsAllocated)


def _read_in_place(path: Path, header: Dataset) -> NDArray[np.generic] | None:
    """Read uncompressed little endian pixels from the end of the file, where nearly every writer puts them.

    None where the pixel data element does not end the file with exactly the length that the header asks for.
    """
    syntax = _transfer_syntax(header)
    if syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return None
    shape = (number_of_frames(header), int(header.Rows), int(header.Columns))
    length = int(np.prod(shape)) * header.BitsAllocated // 8
    padded = length + length % 2
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - padded - 12, 0))
        tail = file.read()
    element = tail[4:8] if syntax.is_implicit_VR else tail[:4]
    if element != _PIXEL_DATA_TAG or tail[8:12] != struct.pack("<I", padded):
        return None
    stored = np.frombuffer(tail, _dtype(header), count=int(np.prod(shape)), offset=12).reshape(shape)
    return _unused_bits_off(stored, header)


def _dtype(header: Dataset) -> np.dtype[np.generic]:
    return np.dtype(f"<{'i' if value(header, 'PixelRepresentation') else 'u'}{header.BitsAllocated // 8}")


def _unused_bits_off(stored: NDArray[np.generic], header: Dataset) -> NDArray[np.generic]:
    """Drop what lies outside BitsStored (old overlays do) and carry the sign."""
    bits_stored, bits_allocated = _bits_stored(header), int(header.BitsAllocated)
    if bits_stored == bits_allocated:
        return stored
    high_bit = value(header, "HighBit")
    above = bits_allocated - 1 - (high_bit if high_bit in range(bits_stored, bits_allocated) else bits_stored - 1)
    integers = stored.astype(_dtype(header), copy=False)
    return np.asarray(np.right_shift(np.left_shift(integers, above), bits_allocated - bits_stored))


def _decode(path: Path, header: Dataset, numbers: Sequence[int]) -> NDArray[np.generic]:
    """Decode by pydicom and its plug-ins, after a look at what each codestream says of itself."""
    uid, syntax = str(header.SOPInstanceUID), _transfer_syntax(header)
    indices = [number - 1 for number in numbers]
    try:
        dataset = dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = syntax
        if syntax.is_encapsulated:
            _check_codestreams(dataset, syntax)
        # pylibjpeg's RLE decoder, the default, panics on damaged data, and a panic from Rust is no Exception.
        plugin = "pydicom" if syntax == RLELossless else ""
        frames = np.stack(list(iter_pixels(dataset, indices=indices, raw=True, decoding_plugin=plugin)))
    except DAMAGE as error:
        raise UnreadablePixels(
            f"pixel data of instance {uid} ({syntax.name}) is missing, short or damaged "
            f"({type(error).__name__}): send the instance again"
        ) from error
    if frames.shape != (len(numbers), header.Rows, header.Columns):
        raise UnreadablePixels(
            f"instance {uid}: expected {header.Rows} x {header.Columns} pixels, came {frames.shape[1:]}"
        )
    return frames if syntax.is_encapsulated else _unused_bits_off(frames, header)


def _check_codestreams(dataset: Dataset, syntax: UID) -> None:
    """Refuse a small file that unpacks to a large image, or half an image, before any decoder sees it."""
    if syntax == RLELossless:
        return
    expected = FrameSize(int(dataset.Rows), int(dataset.Columns), 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=number_of_frames(dataset)):
        found = frame_size(frame)
        if found != expected:
            raise UnreadablePixels(
                f"a compressed frame of instance {dataset.SOPInstanceUID} is {_words(found)}, "
                f"its header says {_words(expected)}"
            )
        if is_cut_short(frame):
            raise UnreadablePixels(
                f"a compressed frame of instance {dataset.SOPInstanceUID} is cut short: send it again"
            )


def _words(size: FrameSize | None) -> str:
    return f"{size.rows} x {size.columns} x {size.components}" if size else "no JPEG, JPEG-LS or JPEG 2000 codestream"


def _rescale(header: Dataset, numbers: Sequence[int]) -> tuple[Matrix, Matrix]:
    """Find RescaleSlope and RescaleIntercept of each frame; 1 and 0 where there is none, or a slope of 0."""
    places = places_of(header)
    chosen = [places[number - 1] if len(places) > 1 else places[0] for number in numbers]
    sequence = "PixelValueTransformationSequence"
    try:
        slope = np.array([float(look_up(place, sequence, "RescaleSlope") or 1) for place in chosen])
        intercept = np.array([float(look_up(place, sequence, "RescaleIntercept") or 0) for place in chosen])
    except (TypeError, ValueError) as error:
        raise UnreadablePixels(f"rescale of instance {header.SOPInstanceUID} is no number") from error
    if not (np.isfinite(slope).all() and np.isfinite(intercept).all()):
        raise UnreadablePixels(f"rescale of instance {header.SOPInstanceUID} is no finite number")
    return slope, intercept


def _rescaled(values: NDArray[np.generic], slope: Matrix, intercept: Matrix) -> Floats:
    floats = np.asarray(values.astype(np.float32))
    if (slope != 1).any():
        floats *= slope.astype(np.float32)[:, None, None]
    if intercept.any():
        floats += intercept.astype(np.float32)[:, None, None]
    return floats
