"""What a compressed frame says of its own size, read before a decoder is let loose on it."""

from dataclasses import dataclass

# Start of frame: T.81 table B.1 (JPEG, without the markers DHT, JPG and DAC among them) and T.87 (JPEG-LS, F7).
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class FrameSize:
    rows: int
    columns: int
    components: int


def frame_size(codestream: bytes) -> FrameSize | None:
    """Read the size from a JPEG, JPEG-LS or JPEG 2000 codestream; None where there is none to be found."""
    if codestream.startswith(_JP2_SIGNATURE):
        codestream = codestream[max(codestream.find(b"\xff\x4f\xff\x51"), 0) :]
    if codestream.startswith(b"\xff\x4f\xff\x51"):
        return _jpeg_2000(codestream)
    return _jpeg(codestream) if codestream.startswith(b"\xff\xd8") else None


def is_cut_short(codestream: bytes) -> bool:
    """Tell a JPEG or JPEG-LS codestream without its end (T.81 B.2.1), of which some decoders make an image of grey."""
    return codestream.startswith(b"\xff\xd8") and not codestream.rstrip(b"\x00").endswith(b"\xff\xd9")


def _jpeg_2000(codestream: bytes) -> FrameSize | None:
    """Read the SIZ marker segment (T.800 A.5.1)."""
    if len(codestream) < 42:
        return None
    x_size, y_size, x_offset, y_offset = (int.from_bytes(codestream[at : at + 4]) for at in (8, 12, 16, 20))
    return FrameSize(y_size - y_offset, x_size - x_offset, int.from_bytes(codestream[40:42]))


def _jpeg(codestream: bytes) -> FrameSize | None:
    """Walk the marker segments to the start of frame (T.81 B.2.2)."""
    at = 2
    while at + 10 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker in _START_OF_FRAME:
            rows, columns = int.from_bytes(codestream[at + 5 : at + 7]), int.from_bytes(codestream[at + 7 : at + 9])
            return FrameSize(rows, columns, codestream[at + 9])
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(codestream[at + 2 : at + 4])
    return None
