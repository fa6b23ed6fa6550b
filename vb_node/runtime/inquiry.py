"""Asks a PACS how many instances a study has; it never holds up the assembler for longer than a moment."""

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from vb_node.dimse.scu import NotAccepted
from vb_node.errors import Later

log = logging.getLogger(__name__)

MOMENT_S = 0.25
AGAIN_S = 5.0


class Inquiry:
    """Questions to one PACS, one at a time; an answer is asked again when something stirred since, or is old.

    ``count`` asks it for the instances of a study by series; it may raise ``Later`` or ``NotAccepted``.
    """

    def __init__(self, pacs: str, count: Callable[[str], dict[str, int]]) -> None:
        self.pacs = pacs
        self._count = count
        self._pool = ThreadPoolExecutor(1)
        self._asked: dict[str, tuple[float, Future[dict[str, int]]]] = {}

    def counted(self, study_instance_uid: str, stirred_at: float, now: float) -> Mapping[str, int]:
        """Give the instances by series as the PACS counts them since ``stirred_at``; empty if it has not answered."""
        asked_at, answer = self._asked.get(study_instance_uid, (0.0, None))
        is_old = asked_at < stirred_at or now - asked_at > AGAIN_S
        if answer is None or (answer.done() and is_old):
            answer = self._pool.submit(self._ask, study_instance_uid)
            self._asked[study_instance_uid] = now, answer
            return _said(answer, MOMENT_S)
        return _said(answer, 0.0) if asked_at >= stirred_at else {}

    def keep(self, study_instance_uids: Collection[str]) -> None:
        """Drop what was said of other studies: they are closed."""
        self._asked = {uid: asked for uid, asked in self._asked.items() if uid in study_instance_uids}

    def _ask(self, study_instance_uid: str) -> dict[str, int]:
        try:
            return self._count(study_instance_uid)
        except (Later, NotAccepted) as error:
            log.warning("count not known", extra={"pacs": self.pacs, "why": str(error)})
        except Exception as error:  # whatever an answer that no standard knows makes of our libraries
            log.warning("count not known", extra={"pacs": self.pacs, "why": type(error).__name__})
        return {}


def _said(answer: Future[dict[str, int]], wait_s: float) -> Mapping[str, int]:
    try:
        return answer.result(wait_s)
    except TimeoutError:
        return {}
