"""The questions that the audit must answer (A-Q1 to A-Q14): their words, what each is asked by, what is not known.

``UNKNOWN`` says plainly what the ledger cannot tell: an auditor must not take silence for an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from storage import accounts, answers
from storage.answers import About, Row

ORDER = ("accession_number", "patient_id", "study_instance_uid", "series_instance_uid")
CASE = (*ORDER, "job_id")
TIME = ("since", "until")


class WrongWords(ValueError):
    """A question is asked by what it cannot be asked by, or without what it needs."""


@dataclass(frozen=True)
class Question:
    """One saved query: ``by`` it may be asked by, one of ``needs`` it must."""

    words: str
    answer: Callable[[Session, About], list[Row]]
    by: tuple[str, ...]
    needs: tuple[str, ...] = ()
    unknown: str = ""


QUESTIONS = {
    1: Question(
        "Which images of a patient or an order reached the node: when, from which AE and host?",
        answers.arrivals,
        ORDER,
        ORDER,
        "The certificate is not recorded; a peer that is bound to one ([[receive.peers]] certificate) showed that one.",
    ),
    2: Question(
        "Which were refused: with what status, and why?",
        answers.refusals,
        ("peer", "sop_instance_uid", *TIME),
        unknown="Patient and order of what was refused: it was not trusted, and is known by peer and instance UID.",
    ),
    3: Question("Which result objects were made: UIDs, type, time?", answers.results, CASE, CASE),
    4: Question("From exactly which instances, by UID and SHA-256?", answers.inputs, CASE, CASE),
    5: Question(
        "With which application, version, weights and settings?",
        answers.models,
        CASE,
        CASE,
        "GPU, driver, CUDA, cuDNN, code commit and container are not recorded. Seeds are fixed by the version.",
    ),
    6: Question(
        "Where was it sent: each attempt, its status, when accepted, when committed?",
        answers.ways,
        (*CASE, "sop_instance_uid"),
        (*CASE, "sop_instance_uid"),
    ),
    7: Question(
        "Which results came from one version or model between two dates (recall list)?",
        answers.recall,
        ("application", "version", "model", *TIME),
        ("version", "model"),
        "A model is known by name and SHA-256 of its weights; of one behind a URL the node sees neither.",
    ),
    8: Question(
        "Which were made of fewer images than have come, or again because of late images; which superseded which?",
        answers.revisions,
        (*CASE, *TIME),
        unknown="How many images the modality meant to send, where neither PACS nor headers told.",
    ),
    9: Question(
        "Which series got no result, and why?",
        answers.fruitless,
        (*ORDER, *TIME),
        unknown="A series that several routes left has the reason of the last one; all are in the audit trail.",
    ),
    10: Question("How long did it take, by day?", accounts.times, ("application", *TIME)),
    11: Question(
        "Who looked, retried, cancelled, sent again, exported, asked, configured?",
        answers.people,
        (*CASE, "user", *TIME),
        unknown="Who edited the configuration file by hand, without `vb-node config apply`.",
    ),
    12: Question(
        "Was any line changed after it was written?",
        accounts.chain,
        (*CASE, "sop_instance_uid", "peer", "user", *TIME),
        unknown="About some lines: whether the trail was written anew beyond them. Asked about nothing, or by "
        "`vb-node audit verify`, the whole chain is walked; compare its last digest with one kept elsewhere.",
    ),
    13: Question(
        "Does the same job, run again, give the same bytes?",
        accounts.reruns,
        ("job_id",),
        ("job_id",),
        "Nothing before it was run again: vb-node audit rerun JOB. No tolerance is stated: bytes are the same or not.",
    ),
    14: Question(
        "What is held of a patient, and when will it be deleted?",
        accounts.held,
        ("patient_id",),
        ("patient_id",),
        "`due_at` is the earliest: files of what is not delivered stay, those of a full disk go sooner. Rows and "
        "audit lines are never deleted by the node. Logs and backups of the machine are not its own.",
    ),
}


def ask(session: Session, number: int, about: dict[str, Any], **terms: Any) -> list[Row]:
    """Answer a question; ``terms`` are limit and keep_s of ``About``.

    Raises
    ------
    WrongWords
        It is asked by what it cannot be asked by, or without what it needs.
    """
    question = QUESTIONS[number]
    if strange := sorted(set(about) - set(question.by)):
        raise WrongWords(f"question {number} is asked by {', '.join(question.by)}; {', '.join(strange)} came")
    if question.needs and not set(about) & set(question.needs):
        raise WrongWords(f"question {number} is asked by at least one of {', '.join(question.needs)}; none came")
    return question.answer(session, About(**about, **terms))
