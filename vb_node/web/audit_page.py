"""The page of the audit trail: lines by their words, and the auditor's questions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from storage import audit
from storage.schema import Event
from vb_node import ask, show
from vb_node.errors import ConfigError, NodeError
from vb_node.web import users
from vb_node.web.paper import House, Paper

MOST_LINES = 500
FIELDS = {
    "accession": ("accession_number", "Accession number"),
    "patient_id": ("patient_id", "Patient ID"),
    "study": ("study_instance_uid", "Study UID"),
    "series": ("series_instance_uid", "Series UID"),
    "sop": ("sop_instance_uid", "Instance UID"),
    "peer": ("peer", "Peer"),
    "job": ("job_id", "Job"),
    "event": ("event", "Event"),
    "user": ("user", "User"),
    "application": ("application", "Application"),
    "version": ("version", "Version"),
    "model": ("model", "Model (name or SHA-256 of weights)"),
    "since": ("since", "Since (UTC)"),
    "until": ("until", "Until (UTC)"),
}
TRAIL = {"since", "until", "model", *(name for name, (key, _) in FIELDS.items() if hasattr(Event, key))}


class AuditPage:
    """Answers auditors; whoever reads the trail stands in it."""

    def __init__(self, house: House, paper: Paper) -> None:
        self._house, self._paper = house, paper

    def routes(self) -> list[BaseRoute]:
        return [Route("/audit", self.show)]

    def show(self, request: Request) -> Response:
        user = users.current(request, "audit")
        wanted = {name: request.query_params.get(name, "").strip() for name in FIELDS}
        number = request.query_params.get("question", "")
        shown: dict[str, Any] = {"lines": None, "given": None, "wrong": "", "limit": MOST_LINES}
        try:
            about = _about(wanted)
            if number:
                shown["given"] = self._ask(user, int(number[:9]) if number.isdecimal() else 0, about)
            elif about:
                shown["lines"] = self._search(user, about, wanted)
        except NodeError as error:
            shown["wrong"] = str(error)
        if request.query_params.get("format") == "csv" and not shown["wrong"]:
            return _csv(shown["lines"], shown["given"])
        fields = [(name, words) for name, (_, words) in FIELDS.items()]
        questions = [(row["number"], row["question"]) for row in ask.listing()]
        code = 422 if shown["wrong"] else 200
        page = self._paper.page(
            request, user, "audit", "/audit", fields=fields, wanted=wanted, questions=questions, number=number, **shown
        )
        page.status_code = code
        return page

    def _ask(self, user: users.User, number: int, about: Mapping[str, Any]) -> ask.Answer:
        terms: dict[str, Any] = {"user": user.name, "actor": "web", "limit": MOST_LINES}
        return ask.answer(self._house.database, self._house.settings, number, about, **terms)

    def _search(self, user: users.User, about: dict[str, Any], wanted: Mapping[str, str]) -> Sequence[Event]:
        if strange := [FIELDS[name][1] for name, value in wanted.items() if value and name not in TRAIL]:
            raise ConfigError(f"{' and '.join(strange)} can be asked of a question, not of the lines of the trail")
        span = {name: about.pop(name, None) for name in ("since", "until")}
        with self._house.database.read() as session:
            lines = audit.search(session, limit=MOST_LINES, since=span["since"], until=span["until"], **about)
        self._house.tell(user, "audit trail read", {"asked": about | span, "lines": len(lines)})
        return lines


def _about(wanted: Mapping[str, str]) -> dict[str, Any]:
    """Read what was filled in; raise ``ConfigError`` for what is no number or no time."""
    about: dict[str, Any] = {FIELDS[name][0]: value for name, value in wanted.items() if value}
    if "job_id" in about:
        about["job_id"] = _number(about["job_id"])
    for name in {"since", "until"} & set(about):
        about[name] = _seconds(about[name])
    return about


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError("the number of a job expected")
    return int(text)


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("a time such as 2026-11-21 or 2026-11-21T07:30 expected") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _csv(lines: Sequence[Event] | None, given: ask.Answer | None) -> Response:
    stream = StringIO(newline="")
    if given is not None:
        show.write_csv(stream, given.rows, given.columns)
    else:
        rows = [show.event_row(line) for line in lines or ()]
        show.write_csv(stream, rows, list(show.event_row(Event(details={}))))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(stream.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
