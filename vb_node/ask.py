"""Ask the ledger one of the auditor's questions; that it was asked, by whom and about what, is an event itself."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from storage import audit
from storage.answers import MOST_ROWS, Row
from storage.database import Database
from storage.questions import QUESTIONS, Question, WrongWords, ask
from vb_node import show
from vb_node.config import Settings
from vb_node.errors import ConfigError, Later, NodeError

DAY_S = 86400.0
CHAIN = 12  # the question that walks the audit trail
_walking = threading.Lock()


@dataclass(frozen=True)
class Answer:
    """What was asked and answered; ``is_cut``: there are more rows than were asked for."""

    number: int
    question: Question
    about: Mapping[str, Any]
    rows: Sequence[Row]
    is_cut: bool

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0]) if self.rows else ["nothing is recorded"]


class UnknownQuestion(NodeError):
    """There is no question of this number."""


def listing() -> list[Row]:
    """Give each question: its words, what it is asked by, what it needs, what the ledger cannot tell."""
    return [
        {
            "number": number,
            "question": one.words,
            "by": list(one.by),
            "needs one of": list(one.needs),
            "not told": one.unknown,
        }
        for number, one in QUESTIONS.items()
    ]


def answer(
    database: Database,
    settings: Settings,
    number: int,
    about: Mapping[str, Any],
    *,
    user: str,
    actor: str,
    limit: int = MOST_ROWS,
) -> Answer:
    """Write down who asks what, and answer; times become ISO 8601 in UTC.

    Raises
    ------
    UnknownQuestion
        There is none of this number.
    ConfigError
        It is asked by what it cannot be asked by, or without what it needs.
    Later
        The whole chain is walked for somebody else.
    """
    question = QUESTIONS.get(number)
    if question is None:
        raise UnknownQuestion(f"a question from 1 to {len(QUESTIONS)} expected, {number} came")
    words = {name: value for name, value in about.items() if value is not None}
    tell_use(database, {"question": number, "about": words}, user=user, actor=actor)
    days = settings.retention.days
    terms = {"limit": limit, "keep_s": None if days is None else DAY_S * days}
    try:
        with walking() if number == CHAIN else nullcontext(), database.read() as session:
            rows = ask(session, number, words, **terms)
    except WrongWords as error:
        raise ConfigError(str(error)) from error
    return Answer(number, question, words, [_told(row) for row in rows[:limit]], len(rows) > limit)


def tell_use(database: Database, query: Mapping[str, Any], *, user: str, actor: str) -> None:
    """Write down who read the audit trail, and what for (PS3.15 A.5.3.2, Audit Log Used)."""
    with database.write() as session:
        event, details = "audit log used", {"query": dict(query)}
        audit.record(session, event, now=time.time(), actor=actor, user=user, details=details)


@contextmanager
def walking() -> Iterator[None]:
    """Walk the chain alone: it takes seconds of a processor; raise ``Later`` while somebody else does."""
    if not _walking.acquire(blocking=False):
        raise Later("the audit trail is verified already: ask again in a minute")
    try:
        yield
    finally:
        _walking.release()


def _told(row: Row) -> Row:
    return {name: show.moment(value) if name.endswith("_at") or name == "at" else value for name, value in row.items()}
