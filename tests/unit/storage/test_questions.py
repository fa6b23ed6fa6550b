"""The auditor's questions on both databases: each can be asked by each of its words."""

from collections.abc import Callable

import pytest

from storage import audit
from storage.database import Database
from storage.questions import QUESTIONS, WrongWords, ask

WORDS = {
    "accession_number": "A1",
    "patient_id": "P1",
    "study_instance_uid": "1.2",
    "series_instance_uid": "1.2.3",
    "sop_instance_uid": "1.2.3.1",
    "peer": "PACS",
    "user": "anna",
    "application": "virtual_biopsy",
    "version": "1",
    "model": "diagnoser",
    "job_id": 1,
    "since": 0.0,
    "until": 1e9,
}


@pytest.mark.parametrize("number", QUESTIONS)
def test_each_question_is_answered_by_each_of_its_words_on_both_databases(
    database: Database, schedule: Callable[..., int | None], number: int
) -> None:
    schedule()
    question = QUESTIONS[number]
    needed = {name: WORDS[name] for name in question.needs[:1]}

    with database.read() as session:
        answers = [ask(session, number, needed | {name: WORDS[name]}) for name in question.by]
        answers.append(ask(session, number, {name: WORDS[name] for name in question.by}))

    assert all(isinstance(rows, list) for rows in answers)


@pytest.mark.parametrize(("number", "rows"), [(1, 1), (4, 1), (5, 1), (9, 1), (12, 1), (14, 4)])
def test_what_is_on_the_shelves_is_in_the_answers(
    database: Database, schedule: Callable[..., int | None], number: int, rows: int
) -> None:
    schedule()

    with database.read() as session:
        found = ask(session, number, {"patient_id": "P1"})

    assert len(found) == rows


def test_there_is_one_row_more_than_asked_for_where_there_are_more(
    database: Database, arrive: Callable[..., bool]
) -> None:
    for number in range(3):
        arrive(uid=f"1.2.3.{number}")

    with database.read() as session:
        found = ask(session, 1, {"patient_id": "P1"}, limit=1)

    assert len(found) == 2


def test_a_question_refuses_a_word_that_it_would_not_look_at(database: Database) -> None:
    with database.read() as session, pytest.raises(WrongWords, match="peer came"):
        ask(session, 3, {"accession_number": "A1", "peer": "PACS"})


def test_some_lines_are_verified_with_their_neighbours_only(database: Database) -> None:
    for number in range(5):
        with database.write() as session:
            audit.record(session, "a", now=float(number), actor="test", job_id=number)

    with database.read() as session:
        (whole,) = ask(session, 12, {})
        (some,) = ask(session, 12, {"job_id": 4})

    assert (whole["lines"], some["lines"]) == (5, 1)
    assert whole["digest"] == some["digest"]
