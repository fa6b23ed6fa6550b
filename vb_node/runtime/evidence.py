"""When is a study whole? Kinds of evidence, cheapest first; the first that speaks closes it.

Each is a function of what has come and of the time, and gives its words for the job log, or None. Others (a count
from the PACS, an association's release, unbroken geometry) join by standing in ``evidences``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.schema import Series
from vb_node.config import AssembleSettings


@dataclass(frozen=True)
class OpenStudy:
    """The series of one study that are still open, since when the listener runs without a break, and its last sign."""

    series: Sequence[Series]
    listening_since: float
    heard_at: float

    @property
    def study_instance_uid(self) -> str:
        return self.series[0].study_instance_uid

    @property
    def last_arrival_at(self) -> float:
        return max(series.last_arrival_at for series in self.series)

    @property
    def opened_at(self) -> float:
        return min(series.opened_at for series in self.series)


Evidence = Callable[[OpenStudy, float], str | None]


def evidences(settings: AssembleSettings) -> tuple[Evidence, ...]:
    """Give the kinds of evidence that a site's settings ask for."""

    def quiet_time(study: OpenStudy, now: float) -> str | None:
        heard = min(now, study.heard_at)  # the silence of a dead listener proves nothing
        if heard - study.last_arrival_at < settings.quiet_s:
            return None
        # While the listener was down, nothing could come: quiet says nothing until it has been up for long enough.
        was_interrupted = study.listening_since > study.opened_at
        if was_interrupted and heard - study.listening_since < settings.restart_gate_s:
            return None
        return f"quiet for {settings.quiet_s:g} s"

    def force(study: OpenStudy, now: float) -> str | None:
        if now - study.opened_at < settings.force_after_s:
            return None
        return f"forced after {settings.force_after_s:g} s, instances may be missing"

    return quiet_time, force
