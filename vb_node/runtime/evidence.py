"""When is a study whole? Kinds of evidence, cheapest first; the first that speaks closes it.

Each is a function of what has come and of the time, and gives its words for the job log, or None. None of them closes a
study while an association that brought it is open; only force does. A release after each instance proves little, so
what came in more than one stroke must also settle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.schema import Association, Series
from vb_node.config import AssembleSettings
from vb_node.dicom.glance import Glance, expected_instances, is_unbroken

AFTER_ABORT = 3
"""How many times the quiet time an aborted sender has to come again."""
FORCED_ANYHOW = 24
"""After so many times ``force_after_s`` a study is forced though the listener starts again and again, or is silent."""


@dataclass(frozen=True)
class OpenStudy:
    """The series of one study that are still open, and what is known of them.

    ``listening_since`` is since when the listener runs without a break, ``heard_at`` its last sign. ``associations``
    brought what is open, as far as it is known; ``glances`` hold one look at each instance, by series; ``counted`` are
    the instances of each series that a PACS knows.
    """

    series: Sequence[Series]
    listening_since: float
    heard_at: float
    associations: Sequence[Association] = ()
    is_all_known: bool = False
    glances: Mapping[str, Sequence[Glance]] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)

    @property
    def study_instance_uid(self) -> str:
        return self.series[0].study_instance_uid

    @property
    def instances(self) -> int:
        return sum(series.instances for series in self.series)

    @property
    def is_seen(self) -> bool:
        """Whether each instance was looked at."""
        return all(len(self.glances.get(one.series_instance_uid, ())) == one.instances for one in self.series)

    @property
    def opened_at(self) -> float:
        return min(series.opened_at for series in self.series)

    @property
    def stirred_at(self) -> float:
        """When something last happened: an instance came, or an association that brought some ended."""
        ends = [association.ended_at or 0.0 for association in self.associations]
        return max(*(series.last_arrival_at for series in self.series), *ends, 0.0)

    @property
    def is_arriving(self) -> bool:
        return any(association.ended_at is None for association in self.associations)

    @property
    def is_released(self) -> bool:
        """Whether every association that brought what is open was released."""
        return self.is_all_known and all(association.is_released for association in self.associations)

    @property
    def is_in_one_stroke(self) -> bool:
        """Whether it all came over one association, which is no sender that opens one for each instance."""
        return len(self.associations) == 1 and self.instances > 1

    @property
    def is_last_aborted(self) -> bool:
        last = max(self.associations, key=lambda one: one.ended_at or 0.0, default=None)
        return last is not None and not last.is_released

    @property
    def was_interrupted(self) -> bool:
        return self.listening_since > self.opened_at

    def heard_until(self, now: float) -> float:
        """Give until when silence was heard: that of a dead listener proves nothing."""
        return min(now, self.heard_at)


Evidence = Callable[[OpenStudy, float], str | None]


def evidences(settings: AssembleSettings) -> tuple[Evidence, ...]:
    """Give the kinds of evidence in the order in which they are heard."""

    def count(study: OpenStudy, now: float) -> str | None:
        """Every association was released, and each series has the instances that a PACS or its own headers promise."""
        if not study.is_released or not (study.is_in_one_stroke or _is_settled(study, now, settings)):
            return None
        by_pacs, by_header = _is_counted(study, _by_pacs), _is_counted(study, _by_header)
        if not (by_pacs or by_header):
            return None
        source = f"as {settings.ask} counts" if by_pacs else "as the headers count"
        return f"released by {study.associations[-1].peer}, {study.instances} instances {source}"

    def unbroken_geometry(study: OpenStudy, now: float) -> str | None:
        """Every association was released, and no slice is missing inside; more at the ends may come: it settles."""
        if not study.is_released or not _is_settled(study, now, settings) or not _has_unbroken_geometry(study):
            return None
        return f"released by {study.associations[-1].peer}, unbroken geometry, quiet for {settings.settle_s:g} s"

    def quiet_time(study: OpenStudy, now: float) -> str | None:
        quiet_s, heard = settings.quiet_s * (AFTER_ABORT if study.is_last_aborted else 1), study.heard_until(now)
        if study.is_arriving or heard - study.stirred_at < quiet_s:
            return None
        # While the listener was down, nothing could come: quiet says nothing until it has been up for long enough.
        if study.was_interrupted and heard - study.listening_since < settings.restart_gate_s:
            return None
        return f"quiet for {quiet_s:g} s"

    def force(study: OpenStudy, now: float) -> str | None:
        since = max(study.opened_at, study.listening_since)  # before a restart nobody may have listened for hours
        is_heard_out = study.heard_until(now) - since >= settings.force_after_s
        if not is_heard_out and now - study.opened_at < FORCED_ANYHOW * settings.force_after_s:
            return None
        return f"forced after {settings.force_after_s:g} s, instances may be missing"

    return count, unbroken_geometry, quiet_time, force


def _is_settled(study: OpenStudy, now: float, settings: AssembleSettings) -> bool:
    return study.heard_until(now) - study.stirred_at >= settings.settle_s and not study.was_interrupted


def _is_counted(study: OpenStudy, expected: Callable[[OpenStudy, Series], int | None]) -> bool:
    return all(expected(study, series) == series.instances for series in study.series)


def _by_pacs(study: OpenStudy, series: Series) -> int | None:
    return study.counted.get(series.series_instance_uid)


def _by_header(study: OpenStudy, series: Series) -> int | None:
    seen = study.glances.get(series.series_instance_uid, ())
    return expected_instances(seen)


def _has_unbroken_geometry(study: OpenStudy) -> bool:
    seen = [study.glances.get(series.series_instance_uid, ()) for series in study.series]
    images = [glances for glances in seen if any(one.is_image for one in glances)]
    return bool(images) and all(is_unbroken(glances) for glances in images)
