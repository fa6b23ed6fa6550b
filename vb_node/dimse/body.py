"""The data set of an instance while it comes: a small one in memory, any other in a file that has no name.

So what many peers send at once takes little memory, however large it is, and no crash leaves anything behind.
"""

from contextlib import suppress
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

IN_MEMORY = 4 << 20

Content = bytes | mmap  # read-only either way; it slices to bytes


class Body:
    """Takes pieces; without a ``folder`` for the file, all stays in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._small = BytesIO()
        self._large: IO[bytes] | None = None
        self.size = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Take a piece; raise ``OSError`` where the disk does not."""
        self._file(len(piece)).write(piece)

    def _file(self, more: int) -> IO[bytes]:
        self.size += more
        if self._large is not None:
            return self._large
        if self.size <= IN_MEMORY or self._folder is None:
            return self._small
        self._large = TemporaryFile(dir=self._folder)  # noqa: SIM115  it stays open
        self._large.write(self._small.getbuffer())
        self._small = BytesIO()
        return self._large

    def content(self) -> Content:
        """Give what came; that of a file is mapped, and stays when the body is closed (mmap(2)); raise ``OSError``."""
        if self._large is None:
            return self._small.getvalue()
        self._large.flush()
        return mmap(self._large.fileno(), 0, access=ACCESS_READ)

    def close(self) -> None:
        """Let go of what came."""
        self._small, self.size = BytesIO(), 0
        if self._large is not None:
            with suppress(OSError):  # of a full disk: what it did not take is not missed
                self._large.close()
