"""multipart/related, read as it comes (RFC 2046 5.1, RFC 2387): no part is held, every header has a bound.

The streaming parsers on PyPI are made for forms: `multipart` demands a Content-Disposition of each part (RFC 7578),
which a DICOM user agent does not send.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message

LONGEST_CONTENT_TYPE = 1024
LONGEST_HEADER, MOST_HEADERS = 8192, 32
LONGEST_PREAMBLE, LONGEST_PADDING = 65536, 64
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")
"""Longer than the 70 characters of RFC 2046 5.1.1: Orthanc's have 73."""


class Malformed(Exception):
    """This is no multipart body."""


class TooMuch(Exception):
    """More parts came, or a longer header, than are taken."""


@dataclass(frozen=True)
class Begin:
    """A part begins; header names are in lower case."""

    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """The part is whole."""


Event = Begin | bytes | End


def content_type(value: str) -> tuple[str, Mapping[str, str]]:
    """Read a media type and its parameters (RFC 9110 8.3), both in lower case but for the values."""
    message = Message()
    message["content-type"] = value[:LONGEST_CONTENT_TYPE]
    parameters = {name.lower(): text for name, text in message.get_params([])[1:] if isinstance(text, str)}
    return message.get_content_type() if "/" in value else "", parameters


class Reader:
    """Reads one body, piece by piece; ``is_whole`` when its closing delimiter has come."""

    def __init__(self, boundary: str, most_parts: int) -> None:
        if not BOUNDARY.fullmatch(boundary):
            raise Malformed("a boundary of 1 to 200 characters of RFC 2046 expected")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter, at the very start, is one like the others
        self._most_parts = most_parts
        self._parts = self._skipped = 0
        self._read = self._preamble
        self.is_whole = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Take what came, and give what it says.

        Raises
        ------
        Malformed, TooMuch
            The body ends here for the reader: nothing after it can be told apart.
        """
        self._buffer += piece
        while (events := self._read()) is not None:
            yield from events

    def _preamble(self) -> list[Event] | None:
        skipped, is_found = self._up_to_delimiter()
        self._skipped += len(skipped)
        if self._skipped > LONGEST_PREAMBLE:
            raise Malformed(f"no delimiter within {LONGEST_PREAMBLE} bytes")
        return self._next(self._padding, []) if is_found else None

    def _padding(self) -> list[Event] | None:
        """Read the rest of a delimiter's line: two hyphens close the body."""
        if self._buffer.startswith(b"--"):
            self.is_whole = True
            return self._next(self._epilogue, [])
        end = self._buffer.find(b"\r\n", 0, LONGEST_PADDING)
        if end < 0 and len(self._buffer) < LONGEST_PADDING:
            return None
        if end < 0 or self._buffer[:end].strip(b" \t"):
            raise Malformed("the end of a line expected after a delimiter")
        self._parts += 1
        if self._parts > self._most_parts:
            raise TooMuch(f"{self._most_parts} parts at most expected")
        del self._buffer[:end]  # its end of line stays: a part without headers begins with an empty line
        return self._next(self._headers, [])

    def _headers(self) -> list[Event] | None:
        end = self._buffer.find(b"\r\n\r\n", 0, LONGEST_HEADER)
        if end < 0:
            if len(self._buffer) >= LONGEST_HEADER:
                raise TooMuch(f"headers of a part within {LONGEST_HEADER} bytes expected")
            return None
        lines = bytes(self._buffer[2:end]).decode("latin-1").split("\r\n") if end else []
        if len(lines) > MOST_HEADERS:
            raise TooMuch(f"{MOST_HEADERS} headers of a part at most expected")
        del self._buffer[: end + 4]
        headers = [line.partition(":") for line in lines]
        return self._next(self._content, [Begin({name.strip().lower(): value.strip() for name, _, value in headers})])

    def _content(self) -> list[Event] | None:
        content, is_found = self._up_to_delimiter()
        said: list[Event] = [content] if content else []
        if is_found:
            return self._next(self._padding, [*said, End()])
        return said or None

    def _epilogue(self) -> None:
        self._buffer.clear()

    def _next(self, read: Callable[[], list[Event] | None], events: list[Event]) -> list[Event]:
        self._read = read
        return events

    def _up_to_delimiter(self) -> tuple[bytes, bool]:
        """Take what lies before the next delimiter, or what cannot be the beginning of one; say whether it came."""
        at = self._buffer.find(self._delimiter)
        is_found = at >= 0
        end = at if is_found else max(0, len(self._buffer) - len(self._delimiter) + 1)
        content = bytes(self._buffer[:end])
        del self._buffer[: end + (len(self._delimiter) if is_found else 0)]
        return content, is_found
