"""Files of people: sent into the node through the receiver, as a peer sends, under the name of the user."""

from collections import Counter
from uuid import uuid4

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vb_node.dicomweb.store_response import Outcome
from vb_node.dimse import scu
from vb_node.runtime.receive import Receiver
from vb_node.web import users
from vb_node.web.files import Most, files_of
from vb_node.web.intake import Intake, Visit
from vb_node.web.paper import House, Paper

LONGEST_AE = 16
FULL = "the disk is too full: see [retention]"


class UploadPage:
    """Takes files from operators, one form at a time."""

    def __init__(self, house: House, paper: Paper, receiver: Receiver, most: Most) -> None:
        self._house, self._paper, self._receiver, self._most = house, paper, receiver, most
        self._intake = Intake(receiver)
        self._hands = CapacityLimiter(1)

    def routes(self) -> list[BaseRoute]:
        return [Route("/upload", self.show), Route("/upload", self.take, methods=["POST"])]

    def show(self, request: Request) -> Response:
        return self._draw(request, users.current(request, "operate"), None)

    async def take(self, request: Request) -> Response:
        """Store each file of a form; a form is to the assembler what an association is."""
        user = await run_sync(users.current, request, "operate")
        if self._house.disk.is_full():
            raise HTTPException(503, FULL, {"Retry-After": "60"})
        visit = Visit(user.name[:LONGEST_AE], users.host_of(request), None, uuid4().hex)
        outcomes: list[Outcome] = []
        is_whole = False
        try:
            async for part in files_of(request, self._most):
                outcomes.append(await run_sync(self._intake.keep, part, visit, limiter=self._hands))
            is_whole = True
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        finally:
            await run_sync(self._receiver.end, visit.association_id, is_whole)
            if outcomes:
                await run_sync(self._tell, user, outcomes)
        return await run_sync(self._draw, request, user, outcomes)

    def _tell(self, user: users.User, outcomes: list[Outcome]) -> None:
        stored = sum(one.is_stored for one in outcomes)
        self._house.tell(user, "files uploaded", {"stored": stored, "refused": len(outcomes) - stored})

    def _draw(self, request: Request, user: users.User, outcomes: list[Outcome] | None) -> Response:
        answers = outcomes and Counter(_words(one) for one in outcomes)
        shown = {"answers": answers, "is_done": outcomes is not None}
        return self._paper.page(request, user, "upload", "/upload", **shown)


def _words(outcome: Outcome) -> str:
    return "stored" if outcome.is_stored else f"refused: {scu.words_of(outcome.failure_reason or 0)}"
