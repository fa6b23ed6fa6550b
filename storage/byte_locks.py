"""Locks that processes share: each is a byte of one file, at a place that its name gives (``fcntl``, F_OFD_SETLK).

The kernel holds them, so they are gone with the process that held them. Who opened the file has them: of two threads
of one process that share an instance, each takes what the other has.

Of a value that several may know at once, each holds the same byte for reading: whoever has another value sees it.
"""

import fcntl
import hashlib
import os
import struct
from errno import EACCES, EAGAIN
from pathlib import Path

FLOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, process
BEYOND, VALUES = 1 << 56, 1 << 24  # where the names that have values begin, and how many bytes each has


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
            self._set(_place(name), fcntl.F_WRLCK)
        except OSError as error:
            if error.errno not in (EACCES, EAGAIN):
                raise
            return False
        return True

    def let_go(self, name: str) -> None:
        """Let a lock go; raise ``OSError``."""
        self._set(_place(name), fcntl.F_UNLCK)

    def agree(self, name: str, value: str) -> bool:
        """Hold that a name has a value, unless another process holds that it has another. Raise ``OSError``."""
        first, own = _places(name, value)
        self._set(own, fcntl.F_RDLCK)
        is_ours = False
        try:
            is_ours = not (self._is_held(first, own - first) or self._is_held(own + 1, first + VALUES - own - 1))
        finally:
            if not is_ours:
                self._set(own, fcntl.F_UNLCK)
        return is_ours

    def forget(self, name: str, value: str) -> None:
        """Hold no longer that a name has a value; raise ``OSError``."""
        self._set(_places(name, value)[1], fcntl.F_UNLCK)

    def _set(self, place: int, kind: int) -> None:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))

    def _is_held(self, place: int, length: int) -> bool:
        """Say whether somebody else holds one of some bytes."""
        if length == 0:  # which would mean all to the end
            return False
        asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, length, 0)
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, asked)
        return bool(FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        os.close(self._file)


def _place(name: str) -> int:
    return _number(name, 7)


def _places(name: str, value: str) -> tuple[int, int]:
    """Give the first of a name's bytes, and that of a value."""
    first = BEYOND + _number(name, 4) * VALUES
    return first, first + _number(value, 3)


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size])
