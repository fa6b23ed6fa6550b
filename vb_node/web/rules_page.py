"""The page of the rules: which route would take a file and why, and a dry run over what has come; nothing is kept."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vb_node import rules
from vb_node.errors import Refused
from vb_node.pipeline.application import installed
from vb_node.rules import Row
from vb_node.web import users
from vb_node.web.files import Most, files_of
from vb_node.web.intake import Intake
from vb_node.web.paper import House, Paper
from vb_node.web.part import Part

MOST_ROWS = 500


class RulesPage:
    """Shows the routes to people, and lets operators try them; one at a time, for headers are read."""

    def __init__(self, house: House, paper: Paper, intake: Intake, most: Most) -> None:
        self._house, self._paper, self._intake, self._most = house, paper, intake, most
        self._trying = threading.Lock()

    def routes(self) -> list[BaseRoute]:
        return [Route("/rules", self.show), Route("/rules", self.test, methods=["POST"])]

    def show(self, request: Request) -> Response:
        since = request.query_params.get("since", "").strip()
        if not since:
            return self._draw(request, users.current(request))
        user = users.current(request, "operate")
        try:
            moment = datetime.fromisoformat(since)
        except ValueError as error:
            raise HTTPException(422, "a date such as 2026-11-21 expected") from error
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        with self._alone():
            found = rules.dry_run(self._house.database, self._house.settings, installed(), moment)
            rows = list(islice(found, MOST_ROWS))
        self._house.tell(user, "rules tried", {"since": moment.isoformat(), "rows": len(rows)})
        return self._draw(request, user, rows=rows, since=since)

    async def test(self, request: Request) -> Response:
        """Judge the files of a form as a study: each is checked as one that is to be stored, and none is kept."""
        user = await run_sync(users.current, request, "operate")
        with self._alone(), TemporaryDirectory(dir=self._most.scratch) as folder:
            count, refused = 0, list[str]()
            try:
                async for part in files_of(request, self._most):
                    count += 1
                    if why := await run_sync(self._lay_down, part, Path(folder) / f"{count}.dcm"):
                        refused.append(f"file {count}: {why}")
            except ClientDisconnect:
                return Response(status_code=400)  # nobody hears it
            rows = await run_sync(self._judge, Path(folder)) if count > len(refused) else []
        await run_sync(self._house.tell, user, "rules tried", {"files": count, "refused": len(refused)})
        return await run_sync(lambda: self._draw(request, user, rows=rows, refused=refused, files=count))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._trying.acquire(blocking=False):
            raise HTTPException(409, "the rules are tried already: try again in a moment")
        try:
            yield
        finally:
            self._trying.release()

    def _lay_down(self, part: Part, path: Path) -> str:
        """Put a file where the rules are tried; say why not, if it would be refused."""
        try:
            path.write_bytes(self._intake.look(part))
        except Refused as refused:
            return str(refused)
        except OSError:
            return "it cannot be written to the disk"
        return ""

    def _judge(self, folder: Path) -> list[Row]:
        return rules.judge(folder, self._house.settings, installed())

    def _draw(self, request: Request, user: users.User, **found: Any) -> Response:
        shown = {"rows": None, "refused": [], "files": None, "since": "", "limit": MOST_ROWS} | found
        routes, may_operate = self._house.settings.routes, user.may("operate")
        return self._paper.page(request, user, "rules", "/rules", routes=routes, may_operate=may_operate, **shown)
