"""A bundle as a ZIP archive: taken apart only where it holds a bundle's files and nothing else."""

import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from vb_node.errors import ConfigError
from vb_node.models.bundle import MOST_BYTES

# Weights hardly shrink and JSON does by ten: what shrinks further was made to fill a disk.
MOST_SHRUNK = 100
_ENCRYPTED = 0x1
# What is no folder about a bundle: its own folders, a way out, and the root.
_NO_TOP = {name.split("/", 1)[0] for name in MOST_BYTES} | {"..", ""}


@contextmanager
def as_folder(bundle: Path) -> Iterator[Path]:
    """Give a bundle's folder: itself, or while the context lasts one that its archive was taken apart into.

    The files stand at the archive's root, or all in one folder of whatever name.

    Raises
    ------
    ConfigError
        The archive is damaged or holds anything but a bundle's files; everything that is wrong is named, and nothing
        was written.
    """
    if not bundle.is_file():
        yield bundle
        return
    with TemporaryDirectory() as room:
        folder = Path(room, bundle.stem)
        try:
            _take_apart(bundle, folder)
        # what damage of the table, of the data and of the names raises
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            raise ConfigError(f"bundle {bundle.name}: a folder or a whole ZIP archive expected: {error}") from error
        yield folder


def _take_apart(archive: Path, folder: Path) -> None:
    if archive.stat().st_size > sum(MOST_BYTES.values()):
        raise ConfigError(f"bundle {archive.name}: larger than all files of a bundle may be")
    with ZipFile(archive) as opened:
        inside = [info for info in opened.infolist() if not info.is_dir()]
        named = dict(zip(_names(inside), inside, strict=True))
        problems = [f"{info.filename!r} {problem}" for info in inside if (problem := _problem(info))]
        problems += [f"unexpected file {name!r}: data only" for name in named if name not in MOST_BYTES]
        problems += ["a name twice"] if len(named) < len(inside) else []
        problems += [f"{name} is too large" for name in named if named[name].file_size > MOST_BYTES.get(name, 0)]
        if problems:
            raise ConfigError(f"bundle {archive.name}: " + "; ".join(problems[:5]))
        for name, info in named.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            # zipfile gives no more than the size that was looked at, and compares the checksum
            (folder / name).write_bytes(opened.read(info))


def _names(inside: list[ZipInfo]) -> list[str]:
    """Name the files below the one folder that holds them all, where there is one."""
    names = [info.filename for info in inside]
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    is_one = len(tops) == 1 and all("/" in name for name in names) and not tops & _NO_TOP
    return [name.split("/", 1)[1] for name in names] if is_one else names


def _problem(info: ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        return "is compressed otherwise than by Deflate"
    if info.file_size > MOST_SHRUNK * max(info.compress_size, 1):
        return f"shrank more than {MOST_SHRUNK} times"
    return ""
