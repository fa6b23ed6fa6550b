"""One part of a request while it comes: small ones in memory, others in a file that has no name and no crash leaves."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from storage.blocks import WINDOW
from vb_node.dicom import part10
from vb_node.dicom.part10 import FileMeta
from vb_node.dicomweb import multipart
from vb_node.dimse import status
from vb_node.dimse.body import Body, Content
from vb_node.errors import Refused

DICOM = "application/dicom"
IN_MEMORY = 1 << 18


class Part:
    """What has come of one part; no more than ``longest`` bytes of it are kept."""

    def __init__(self, headers: Mapping[str, str], folder: Path, longest: int) -> None:
        self._media_type, _ = multipart.content_type(headers.get("content-type", ""))
        self._longest = longest
        self._size = 0
        self._fault: OSError | None = None
        self._folder = folder
        self._file: IO[bytes] = SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115  it stays open

    def write(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._longest or self._fault is not None:
            return
        try:
            self._file.write(piece)
        except OSError as error:  # the disk is full: the sender is told when its part is over
            self._fault = error
            self._file.close()

    def meta(self) -> FileMeta:
        """Read the file meta information; raise ``Refused``, or ``OSError`` where the part could not be kept."""
        if self._fault is not None:
            raise self._fault
        if self._media_type not in (DICOM, ""):  # some user agents name the type in the request's header only
            raise Refused(f"a part of {DICOM} expected", status.PROCESSING_FAILURE)
        self._file.seek(0)
        return part10.read(self._file.read(part10.LONGEST_META))

    def data(self, start: int) -> Content:
        """Give the data set, which begins at ``start``; raise ``Refused`` with A702 where the part was too long."""
        if self._size > self._longest:
            raise Refused(f"an instance of {self._longest} bytes at most expected", status.TOO_LARGE)
        self._file.seek(start)
        body = Body(self._folder)
        try:
            while piece := self._file.read(WINDOW):
                body.add(piece)
            return body.content()
        finally:
            body.close()

    def close(self) -> None:
        self._file.close()
