"""The data set of an instance while it comes: a small one in memory, any other in a file that has no name.

So what many peers send at once takes little memory, however large it is, and no crash leaves anything behind.
"""

from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import SpooledTemporaryFile

IN_MEMORY = 4 << 20

Content = bytes | mmap  # read-only either way; it slices to bytes


class Body:
    """Takes pieces; without a ``folder`` for the file, all stays in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._most = 0 if folder is None else IN_MEMORY  # 0: no end
        self._file = SpooledTemporaryFile(self._most, dir=None if folder is None else str(folder))  # noqa: SIM115  it stays open
        self.size = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Take a piece; raise ``OSError`` where the disk does not."""
        self.size += len(piece)
        self._file.write(piece)

    def content(self) -> Content:
        """Give what came; that of a file is mapped, and stays when the body is closed (mmap(2)); raise ``OSError``."""
        if self._most and self.size > self._most:
            self._file.flush()
            return mmap(self._file.fileno(), 0, access=ACCESS_READ)
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Let go of what came."""
        with suppress(OSError):  # of a full disk: what it did not take is not missed
            self._file.close()
