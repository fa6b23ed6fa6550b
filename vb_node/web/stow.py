"""Instances by STOW-RS, through the same door as by C-STORE (PS3.18 10.5): none is answered before it is safe.

A request is to the assembler what an association is: it is open while its body comes, and released when that was whole.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vb_node.dicom.admission import LEGAL_UID
from vb_node.dicomweb import multipart, store_response
from vb_node.dicomweb.multipart import Reader
from vb_node.dicomweb.store_response import Outcome
from vb_node.dimse import status
from vb_node.dimse.guard import Limits
from vb_node.errors import Refused
from vb_node.runtime.receive import Receiver
from vb_node.web.door import Caller, Door
from vb_node.web.intake import Intake, Visit
from vb_node.web.part import DICOM, Part

log = logging.getLogger(__name__)

AT_ONCE = 2  # threads that store
MOST_STRANGE = 100  # parts that are no DICOM, and then it is no Store request
FULL = "the disk is too full (`[retention]`)"
RETRY = {"Retry-After": "60"}


@dataclass(frozen=True)
class Bounds:
    """What one request may bring."""

    body_bytes: int
    parts: int
    limits: Limits


class Studies:
    """The Studies resource, of which only the Store transaction is offered."""

    def __init__(self, receiver: Receiver, door: Door, bounds: Bounds, scratch: Path) -> None:
        self._receiver, self._door, self._bounds, self._scratch = receiver, door, bounds, scratch
        self._intake = Intake(receiver)
        self._hands = CapacityLimiter(AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        paths = ("/dicom-web/studies", "/dicom-web/studies/{study}")
        return [Route(path, self.store, methods=["POST"]) for path in paths]

    async def store(self, request: Request) -> Response:
        """Take a Store request and answer it; a stranger gets no further than its headers."""
        visit = await self._let_in(request)
        try:
            reader = self._look(request)
        except HTTPException as refused:
            await self._tell_refusal(visit, refused.detail)
            raise
        outcomes: list[Outcome] = []
        try:
            await self._take(request, visit, reader, outcomes)
            code = store_response.status(outcomes)
        except (multipart.Malformed, multipart.TooMuch) as error:
            await self._tell_refusal(visit, str(error))
            outcomes.append(Outcome(failure_reason=status.PROCESSING_FAILURE))
            code = 413 if isinstance(error, multipart.TooMuch) else store_response.status(outcomes)
        except ClientDisconnect:
            log.warning("request broken off", extra={"peer": visit.peer, "host": visit.host})
            return Response(status_code=400)  # nobody hears it
        finally:
            await run_sync(self._receiver.end, visit.association_id, reader.is_whole, limiter=self._hands)
        body, media_type = store_response.encode(outcomes, request.headers.get("accept", ""))
        return Response(body, code, RETRY if code == 503 else None, media_type)

    async def _let_in(self, request: Request) -> Visit:
        """Say whose request this is; refuse a stranger's, and everybody's while the disk is full."""
        host = request.client.host if request.client else ""
        caller = Caller(host, request.headers.get("authorization", ""), getattr(request.state, "certificate", None))
        peer = self._door.who(caller)
        if peer is None:
            await self._reject("", host, "no token or certificate of a known peer at this address")
            raise HTTPException(401, "a peer of [[web.peers]] expected", {"WWW-Authenticate": "Bearer"})
        if self._bounds.limits.is_full():
            await self._reject(peer, host, FULL)
            raise HTTPException(503, FULL, RETRY)
        return Visit(peer, host, request.path_params.get("study"), uuid4().hex)

    def _look(self, request: Request) -> Reader:
        """Refuse by the headers what need not be read; give the reader of the body."""
        if int(request.headers.get("content-length", 0)) > self._bounds.body_bytes:
            raise HTTPException(413, f"a request of {self._bounds.body_bytes} bytes at most expected")
        study = request.path_params.get("study")
        if study is not None and (len(study) > 64 or not LEGAL_UID.fullmatch(study)):
            raise HTTPException(400, "a Study Instance UID expected")
        return _reader(request, self._bounds.parts)

    async def _reject(self, peer: str, host: str, why: str) -> None:
        log.warning("request rejected", extra={"peer": peer, "host": host, "why": why})
        await run_sync(self._receiver.tell_rejection, peer, host, f"STOW-RS: {why}", limiter=self._hands)

    async def _tell_refusal(self, visit: Visit, why: str) -> None:
        log.warning("request refused", extra={"peer": visit.peer, "host": visit.host, "why": why})
        refused = Refused(f"STOW-RS: {why}", status.PROCESSING_FAILURE)
        await run_sync(self._receiver.tell_refusal, visit.peer, visit.host, "", refused, limiter=self._hands)

    async def _take(self, request: Request, visit: Visit, reader: Reader, outcomes: list[Outcome]) -> None:
        """Store each part of the body as soon as it is whole."""
        part: Part | None = None
        try:
            async for event in self._events(request, reader):
                if isinstance(event, multipart.Begin):
                    part = Part(event.headers, self._scratch, self._bounds.limits.max_instance_bytes)
                elif part is not None and isinstance(event, bytes):
                    part.write(event)
                elif part is not None:
                    outcomes.append(await run_sync(self._intake.keep, part, visit, limiter=self._hands))
                    part.close()
                    if sum(not one.sop_instance_uid for one in outcomes[:MOST_STRANGE]) == MOST_STRANGE:
                        raise multipart.Malformed(f"parts of {DICOM} expected, the first {MOST_STRANGE} were none")
        finally:
            if part is not None:
                part.close()

    async def _events(self, request: Request, reader: Reader) -> AsyncIterator[multipart.Event]:
        """Read the body as it comes; raise ``Malformed`` or ``TooMuch``."""
        came = 0
        async for piece in request.stream():
            came += len(piece)
            if came > self._bounds.body_bytes:
                raise multipart.TooMuch(f"a request of {self._bounds.body_bytes} bytes at most expected")
            for event in reader.feed(piece):
                yield event
        if not reader.is_whole:
            raise multipart.Malformed("the closing delimiter of the body expected")


def _reader(request: Request, most_parts: int) -> Reader:
    """Make the reader of a multipart/related body of DICOM files (PS3.18 8.7.3.5); answer 415 or 400 to another."""
    media_type, parameters = multipart.content_type(request.headers.get("content-type", ""))
    if (media_type, parameters.get("type", "").lower()) != ("multipart/related", DICOM):
        raise HTTPException(415, f'multipart/related; type="{DICOM}" expected')
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "a body without Content-Encoding expected")
    try:
        return Reader(parameters.get("boundary", ""), most_parts)
    except multipart.Malformed as error:
        raise HTTPException(400, str(error)) from error
