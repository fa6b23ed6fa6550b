"""Locks that processes share: each is a byte of one file, at a place that its name gives (``fcntl``, F_OFD_SETLK).

The kernel holds them, so they are gone with the process that held them. Who opened the file has them: of two threads
of one process that share an instance, each takes what the other has.
"""

import fcntl
import hashlib
import os
import struct
from errno import EACCES, EAGAIN
from pathlib import Path

FLOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, process


class ByteLocks:
    """The locks of one file, which is made where it is not there; raise ``OSError`` where its disk knows no locks."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.let_go("")
        except OSError:
            self.close()
            raise

    def take(self, name: str) -> bool:
        """Take a lock; say whether it is ours now. Raise ``OSError``."""
        try:
            self._set(name, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno not in (EACCES, EAGAIN):
                raise
            return False
        return True

    def let_go(self, name: str) -> None:
        """Let a lock go; raise ``OSError``."""
        self._set(name, fcntl.F_UNLCK)

    def _set(self, name: str, kind: int) -> None:
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))

    def close(self) -> None:
        os.close(self._file)
