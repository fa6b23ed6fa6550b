"""The spool: files that survive a power cut, under names that no peer can choose.

An instance is written under its own name and then fsynced: the one fsync takes content and name to the disk, as it is
the first of a new file. (A name given after the fsync needs a second one, of the folder: 59 of 60 files survive a cut
without it.) So under its name may lie half a file after a crash, never one that was answered Success: who rebuilds from
here compares the digest in the name.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from storage import blocks
from storage.blocks import Content

_FILE, _PART = ".dcm", ".part"
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_NUMBERS = count()


class Spool:
    """A folder of instances, one file each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sop_instance_uid: str, sha256: str) -> Path:
        """Give the place of an instance's file, in one of 16 folders.

        Two contents under one UID never share a file, so the second cannot touch the first.
        """
        name = name_of(sop_instance_uid, sha256)
        return self.root / name[:1] / name

    def files(self) -> dict[str, str]:
        """List the files there are, path by name; as strings, for they may be a million."""
        found = (file for folder in self.root.glob("?/") for file in os.scandir(folder))
        return {file.name: file.path for file in found if file.name.endswith(_FILE)}

    def prepare(self) -> None:
        """Make the folders, durably, so that no instance waits for them.

        They are few: a disk writes a new file faster beside the last one. Of an earlier version there were 256.
        """
        for number in range(16):
            (self.root / f"{number:x}").mkdir(parents=True, exist_ok=True)
        for old in list(self.root.glob(f"??/*{_FILE}")):
            old.rename(self.root / old.name[:1] / old.name)
        _sync_folder(self.root)

    def put(self, sop_instance_uid: str, sha256: str, *pieces: Content) -> Path:
        """Store the pieces as the instance's file, durably; together in whole ``blocks`` they are so sooner.

        Raises
        ------
        OSError
            The disk is full or broken.
        """
        path = self.path_of(sop_instance_uid, sha256)
        try:
            descriptor = self._create(path)
        except FileExistsError:  # of another thread, or of a crash: never changed, perhaps somebody reads it
            write_durably(path, *pieces)
            return path
        try:
            blocks.write_new(descriptor, pieces)
            os.fsync(descriptor)
        except BaseException:
            if path.stat().st_ino == os.fstat(descriptor).st_ino:  # else somebody has put a whole one in its place
                path.unlink()
            raise
        finally:
            os.close(descriptor)
        return path

    def _create(self, path: Path) -> int:
        try:
            return os.open(path, _NEW)
        except FileNotFoundError:
            self.prepare()
            return os.open(path, _NEW)

    def sweep(self) -> int:
        """Remove what processes that are gone left half written, and return how many files that were."""
        parts = [part for part in self.root.rglob(f"*{_PART}") if not _is_running(part.name.split(".")[-3])]
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.files().values())


def name_of(sop_instance_uid: str, sha256: str) -> str:
    """Name the file of an instance: digests of its UID and content."""
    return f"{hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]}-{sha256[:32]}{_FILE}"


def write_durably(path: Path, *pieces: Content) -> None:
    """Write a file that is there whole, after a power cut too, or not at all."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)
    part = path.with_name(f"{path.name}.{os.getpid()}.{next(_NUMBERS)}{_PART}")
    try:
        with part.open("wb") as file:
            file.writelines(chain.from_iterable(map(blocks.windows, pieces)))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _is_running(process: str) -> bool:
    """Say whether a process, by its id, is there and is another one than this."""
    return process.isdecimal() and int(process) != os.getpid() and Path(f"/proc/{process}").exists()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
