"""The REST API under /api/v1: what ``vb-node jobs`` and ``vb-node audit`` tell, for programs and pages.

Each handler names what its user must be allowed. Words to look for are exact values and bounded; lists are read on from
where the last page ended (``next``), never by counting.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from storage import audit, comparisons, deliveries, jobs, outages, schema, stations
from storage.chain import Broken
from storage.database import Database
from vb_node import ask, shadow, show
from vb_node.config import Settings
from vb_node.errors import ConfigError, Later
from vb_node.web.asked import LARGEST, AskedComparisons, AskedEvents, AskedJobs, AskedQuestion
from vb_node.web.users import Action, User, current

SILENT_S = 10.0
LONGEST_LOG = 10_000
Answers = dict[int | str, dict[str, Any]]


class Fault(BaseModel):
    """Why a request was not answered as asked; ``wrong`` names the parameters that are."""

    error: str
    wrong: list[dict[str, str | None]] | None = None


ERRORS: Answers = {
    401: {"model": Fault, "description": "A session or an API token is missing."},
    403: {"model": Fault, "description": "The user may not."},
    422: {"model": Fault, "description": "A parameter is not what was expected."},
}
GONE: Answers = {404: {"model": Fault, "description": "There is none of this number."}}
NOT_NOW: Answers = {409: {"model": Fault, "description": "Its state does not allow this."}}
BUSY: Answers = {429: {"model": Fault, "description": "Somebody else verifies now."}}

router = APIRouter(prefix="/api/v1", responses=ERRORS)


def _who_may(action: Action) -> Callable[[Request], User]:
    def who(request: Request) -> User:
        return current(request, action)

    return who


def _ledger(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Ledger = Annotated[Database, Depends(_ledger)]
Viewer = Annotated[User, Depends(_who_may("see"))]
Operator = Annotated[User, Depends(_who_may("operate"))]
Auditor = Annotated[User, Depends(_who_may("audit"))]

Id = Annotated[int, Path(ge=1, le=LARGEST)]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Row = dict[str, Any]
Thing = TypeVar("Thing")


@router.get("/jobs")
def list_jobs(_user: Viewer, database: Ledger, asked: Annotated[AskedJobs, Query()]) -> Row:
    """List jobs, newest first, by exact values."""
    with database.read() as session:
        found = jobs.listing(session, before=asked.before, limit=asked.limit, **asked.span(), **asked.keys())
        return {"jobs": [show.job_row(job) for job in found], "next": _next(found, asked.limit, "id")}


@router.get("/jobs/{job_id}", responses=GONE)
def get_job(job_id: Id, user: Viewer, database: Ledger) -> Row:
    """Give all that the ledger holds of one job; that it was looked at is an event."""
    with database.read() as session:
        job = _found(job_id, jobs.find(session, job_id))
        log = audit.search(session, since=None, until=None, limit=LONGEST_LOG, job_id=job_id)
        whole = show.whole_job(job, jobs.deliveries_of(session, job_id), log)
        keys = audit.keys_of(job)
    with database.write() as session:
        audit.record(session, "job viewed", now=time.time(), actor="web", user=user.name, **keys)
    return whole


@router.post("/jobs/{job_id}/retry", responses=GONE | NOT_NOW)
def retry_job(job_id: Id, user: Operator, database: Ledger) -> Row:
    """Put a FAILED or CANCELED job on the shelf again, and resume its parked deliveries."""
    with _changing(database) as session:
        _found(job_id, jobs.find(session, job_id))
        return show.job_row(jobs.retry(session, job_id, now=time.time(), user=user.name))


@router.post("/jobs/{job_id}/cancel", responses=GONE | NOT_NOW)
def cancel_job(job_id: Id, user: Operator, database: Ledger) -> Row:
    """Cancel a job that has not ended."""
    with _changing(database) as session:
        _found(job_id, jobs.find(session, job_id))
        return show.job_row(jobs.cancel(session, job_id, now=time.time(), user=user.name))


@router.post("/deliveries/{delivery_id}/send-again", responses=GONE | NOT_NOW)
def send_again(delivery_id: Id, user: Operator, database: Ledger) -> Row:
    """Put a parked delivery on the shelf again, with fresh patience."""
    with _changing(database) as session:
        delivery = _found(delivery_id, deliveries.find(session, delivery_id))
        deliveries.send_again(session, delivery, now=time.time(), user=user.name)
        return show.delivery_row(delivery)


@router.get("/comparisons")
def list_comparisons(_user: Viewer, database: Ledger, asked: Annotated[AskedComparisons, Query()]) -> Row:
    """List what shadow routes gave beside the live ones, newest first, with a summary of each route's newest."""
    with database.read() as session:
        terms = asked.span() | asked.keys()
        found = comparisons.listing(session, before=asked.before, limit=asked.limit, **terms)
        summaries = shadow.summaries(comparisons.listing(session, limit=shadow.MOST, **terms))
    last = found[-1].comparison.shadow_job_id if len(found) == asked.limit else None
    return {"comparisons": [shadow.row(one) for one in found], "summaries": summaries, "next": last}


@router.get("/audit")
def search_audit(user: Auditor, database: Ledger, asked: Annotated[AskedEvents, Query()]) -> Row:
    """Find lines of the audit trail, oldest first, by exact values; that it was read is an event of its own."""
    ask.tell_use(database, asked.model_dump(mode="json", exclude_none=True), user=user.name, actor="web")
    with database.read() as session:
        found = audit.search(session, after=asked.after, limit=asked.limit, **asked.span(), **asked.keys())
        return {"events": [show.event_row(line) for line in found], "next": _next(found, asked.limit, "seq")}


@router.get("/questions")
def list_questions(_user: Auditor) -> Row:
    """List the auditor's questions: what each may be asked by, and what the ledger cannot tell."""
    return {"questions": ask.listing()}


@router.get("/questions/{number}", responses=GONE | BUSY)
def ask_question(
    number: Id,
    user: Auditor,
    database: Ledger,
    settings: Annotated[Settings, Depends(_settings)],
    asked: Annotated[AskedQuestion, Query()],
) -> Row:
    """Answer one of the auditor's questions from the ledger; that it was asked is an event of its own."""
    try:
        given = ask.answer(database, settings, number, asked.about(), user=user.name, actor="web", limit=asked.limit)
    except ask.UnknownQuestion as error:
        raise HTTPException(404, str(error)) from error
    except Later as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error
    told = {"number": number, "question": given.question.words, "not_told": given.question.unknown}
    return told | {"rows": list(given.rows), "is_cut": given.is_cut}


@router.get("/audit/verify", responses=BUSY)
def verify_audit(user: Auditor, database: Ledger) -> Row:
    """Walk the whole audit trail and say whether a line was changed after it was written."""
    ask.tell_use(database, {"verify": True}, user=user.name, actor="web")
    try:
        with ask.walking(), database.read() as session:
            trail = audit.verify(session)
    except Later as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error
    except Broken as broken:
        return {"is_whole": False, "why": str(broken)}
    return {"is_whole": True, "lines": trail.lines, "last": trail.last, "digest": trail.digest}


@router.get("/destinations")
def list_destinations(_user: Viewer, database: Ledger, settings: Annotated[Settings, Depends(_settings)]) -> Row:
    """List the destinations, whether they can be reached, and what waits for them."""
    with database.read() as session:
        down = {outage.destination: outage for outage in outages.listing(session)}
        queues = deliveries.queues(session)
    return {
        "destinations": [
            {
                "name": one.name,
                "kind": one.kind,
                **_reach(down.get(one.name)),
                **_queues(one.name, queues),
            }
            for one in settings.destinations
        ]
    }


@router.post("/destinations/{name}/send-again", responses=NOT_NOW)
def send_all_again(name: Name, user: Operator, database: Ledger) -> Row:
    """Put all that is parked for a destination on the shelf again, with fresh patience."""
    with _changing(database) as session:
        return {"resumed": deliveries.send_all_again(session, name, now=time.time(), user=user.name)}


def _reach(outage: schema.Outage | None) -> Row:
    if outage is None:
        return {"state": "up", "down_since": None, "why": None}
    return {"state": "down", "down_since": show.moment(outage.since), "why": outage.detail}


def _queues(name: str, queues: Mapping[tuple[str, str], deliveries.Queue]) -> Row:
    """Count the deliveries to a destination that are not done, and say since when the oldest is under way."""
    mine = {state: queues[name, state] for state in deliveries.OPEN if (name, state) in queues}
    since = min((mine[state].since for state in deliveries.UNDER_WAY if state in mine), default=None)
    counts = {state: mine[state].length if state in mine else 0 for state in deliveries.OPEN}
    return {"deliveries": counts, "under_way_since": show.moment(since)}


@router.get("/stations")
def list_stations(_user: Viewer, database: Ledger) -> Row:
    """List the processes that take instances, and whether they were heard lately."""
    with database.read() as session:
        found = stations.listing(session)
    return {
        "stations": [
            {
                "name": one.name,
                "started": show.moment(one.started_at),
                "heard": show.moment(one.beat_at),
                "is_alive": time.time() - one.beat_at < SILENT_S,
            }
            for one in found
        ]
    }


def _next(found: Sequence[Any], limit: int, key: str) -> int | None:
    return getattr(found[-1], key) if len(found) == limit else None


def _found(number: int, thing: Thing | None) -> Thing:
    if thing is None:
        raise HTTPException(404, f"there is no {number}")
    return thing


@contextmanager
def _changing(database: Database) -> Iterator[Session]:
    """Open a writing transaction; what cannot be done now is told as a conflict."""
    try:
        with database.write() as session:
            yield session
    except (jobs.NotNow, deliveries.NotParked) as why:
        raise HTTPException(409, str(why)) from why
