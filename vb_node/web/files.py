"""The files of a form, one by one as they come; what is no file is passed over."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

from vb_node.dicomweb import multipart
from vb_node.dicomweb.multipart import Reader
from vb_node.web.gate import FORM_DATA
from vb_node.web.part import Part


@dataclass(frozen=True)
class Most:
    """How much one form may bring, and where its files lie meanwhile."""

    body_bytes: int
    file_bytes: int
    files: int
    scratch: Path


async def files_of(request: Request, most: Most) -> AsyncIterator[Part]:
    """Give each file when it is whole; it is gone when the next one is asked for.

    Raises
    ------
    HTTPException
        It is no form with files, or it brings too much.
    """
    media_type, parameters = multipart.content_type(request.headers.get("content-type", ""))
    if media_type != FORM_DATA:
        raise HTTPException(415, "a form with files expected")
    part: Part | None = None
    try:
        reader = Reader(parameters.get("boundary", ""), most.files)
        async for event in _events(request, reader, most.body_bytes):
            if isinstance(event, multipart.Begin):
                part = Part({}, most.scratch, most.file_bytes) if _is_file(event) else None
            elif part is not None and isinstance(event, bytes):
                part.write(event)
            elif part is not None:
                yield part
                part.close()
        if not reader.is_whole:
            raise multipart.Malformed("the closing delimiter of the form expected")
    except multipart.TooMuch as error:
        raise HTTPException(413, str(error)) from error
    except multipart.Malformed as error:
        raise HTTPException(400, str(error)) from error
    finally:
        if part is not None:
            part.close()


async def _events(request: Request, reader: Reader, most: int) -> AsyncIterator[multipart.Event]:
    came = 0
    async for piece in request.stream():
        came += len(piece)
        if came > most:
            raise multipart.TooMuch(f"a form of {most} bytes at most expected")
        for event in reader.feed(piece):
            yield event


def _is_file(begun: multipart.Begin) -> bool:
    """Say whether a field is a file that was chosen: one that was not has no name."""
    told = begun.headers.get("content-disposition", "")
    return "filename=" in told and 'filename=""' not in told
