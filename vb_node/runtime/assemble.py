"""The station that decides when a study is whole and which of its series become jobs."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import arrivals, audit, drift, jobs
from storage.database import Database
from storage.schema import Instance, Job, Series
from storage.spool import Spool
from vb_node.config import Settings
from vb_node.errors import IdentityConflict, Unfit
from vb_node.pipeline.application import Application, Candidate
from vb_node.pipeline.select import Choice
from vb_node.runtime.destinations import open_destination
from vb_node.runtime.evidence import OpenStudy, evidences
from vb_node.runtime.identity import conflict
from vb_node.runtime.inquiry import Inquiry
from vb_node.runtime.routing import Route, Router, candidate_of
from vb_node.runtime.watch import Watch

log = logging.getLogger(__name__)

STATION = "assemble"
REST_S = 60.0


@dataclass(frozen=True)
class WholeStudy:
    """All that has come of a study; ``closing`` are the series that the evidence closes now."""

    series: Mapping[str, Series]
    instances: Mapping[str, Sequence[Instance]]
    closing: frozenset[str]
    evidence: str
    conflict: IdentityConflict | None = None


class Assembler:
    """Closes studies by evidence and puts jobs on the shelf."""

    def __init__(
        self, database: Database, spool: Spool, settings: Settings, applications: Mapping[str, Application]
    ) -> None:
        self.database = database
        self.spool = spool
        self.evidences = evidences(settings.assemble)
        self.watch = Watch(database, spool, _inquiry(settings))
        self._resting: dict[str, float] = {}  # studies that failed, so that they do not hold up the others
        self.router = Router(settings, applications)

    def step(self, now: float) -> bool:
        """Close one study that is whole; give False if there is none."""
        for open_study in self.watch.open_studies(now):
            evidence = next((words for speak in self.evidences if (words := speak(open_study, now))), None)
            if (
                evidence is None
                or not open_study.is_seen
                or self._resting.get(open_study.study_instance_uid, 0.0) > now
            ):
                continue
            try:
                self._assemble(self._gather(open_study, evidence), now)
            except OperationalError:  # the ledger's fault, not the study's
                raise
            except Exception:
                log.exception("study not assembled", extra={"study_instance_uid": open_study.study_instance_uid})
                self._resting[open_study.study_instance_uid] = now + REST_S
                continue
            return True
        return False

    def _gather(self, open_study: OpenStudy, evidence: str) -> WholeStudy:
        with self.database.read() as session:
            study = arrivals.series_of_study(session, open_study.study_instance_uid)
            series = {one.series_instance_uid: one for one in study}
            instances = {uid: list(arrivals.instances_of_series(session, uid)) for uid in series}
        closing = frozenset(one.series_instance_uid for one in open_study.series)
        return WholeStudy(series, instances, closing, evidence, conflict(study, open_study.glances))

    def _assemble(self, study: WholeStudy, now: float) -> None:
        candidates = self._candidates(study)
        choices = self.router.choices(candidates)  # reads files: not while the ledger is held
        with self.database.write() as session:
            if not _is_unchanged(session, study):
                return  # something came meanwhile: the next turn sees it
            for uid in sorted(study.closing):
                arrivals.close(session, session.get_one(Series, uid), study.evidence, now=now)
            job_ids: dict[tuple[str, str | None], int] = {}
            for route, choice in choices:
                if not choice.is_taken:
                    continue
                job = jobs.latest(session, choice.series_instance_uid, route.application.name, route.shadow)
                if job is None or choice.series_instance_uid in study.closing:
                    job = _schedule(session, study, route, choice, _destinations(choices, route, choice), now) or job
                if job is not None:
                    job_ids.setdefault((route.application.name, route.shadow), job.id)
            _describe(session, study, candidates, choices, now)
            for route, choice in choices:
                if choice.series_instance_uid in study.closing:
                    _tell(session, study, route, choice, job_ids.get((route.application.name, route.shadow)), now)

    def _candidates(self, study: WholeStudy) -> dict[str, Candidate | Unfit]:
        return {uid: candidate_of(self.spool, instances) for uid, instances in study.instances.items()}


def _inquiry(settings: Settings) -> Inquiry | None:
    for destination in settings.destinations:
        if destination.name == settings.assemble.ask:
            return Inquiry(destination.name, open_destination(destination, settings.node.ae_title).count_by_series)
    return None


def _is_unchanged(session: Session, study: WholeStudy) -> bool:
    uid = next(iter(study.series.values())).study_instance_uid
    current = {series.series_instance_uid: series.instances for series in arrivals.series_of_study(session, uid)}
    return current == {uid: series.instances for uid, series in study.series.items()}


def _destinations(choices: Sequence[tuple[Route, Choice]], route: Route, choice: Choice) -> list[str]:
    """Gather where all routes that take a series for one application send its results; a shadow route sends nothing."""
    if route.settings.shadow:
        return []
    alike = [
        other.settings
        for other, chosen in choices
        if chosen.is_taken
        and chosen.series_instance_uid == choice.series_instance_uid
        and other.application.name == route.application.name
        and not other.settings.shadow
    ]
    return list(dict.fromkeys(name for settings in alike for name in settings.destinations))


def _schedule(
    session: Session, study: WholeStudy, route: Route, choice: Choice, destinations: list[str], now: float
) -> Job | None:
    """Put the job of a series on the shelf.

    Two routes that take one series for one application make one key, and the second finds it there; a shadow route
    makes its own.
    """
    uid = choice.series_instance_uid
    inputs = [(instance.sop_instance_uid, instance.sha256) for instance in study.instances[uid]]
    job = Job(
        key=job_key(uid, inputs, route.application, route.plan, route.shadow),
        application=route.application.name,
        version=route.application.version,
        route=route.settings.name,
        is_shadow=route.settings.shadow,
        plan=route.plan,
        destinations=destinations,
        closed_by=study.series[uid].closed_by or study.evidence,
        priority=route.settings.priority,
        created_at=now,
        **audit.keys_of(study.series[uid]),
    )
    scheduled = jobs.schedule(session, job, inputs)
    ids = {"job": job.id, "series_instance_uid": uid, "instances": len(inputs)}
    if scheduled is not None and study.conflict is not None:
        log.error("identity conflict", extra=ids | {"why": str(study.conflict)})
        jobs.hold(session, job, now=now, reason=study.conflict.reason, detail=str(study.conflict))
    elif scheduled is not None:
        log.info("job scheduled", extra=ids)
    return scheduled


def _describe(
    session: Session,
    study: WholeStudy,
    candidates: Mapping[str, Candidate | Unfit],
    choices: Sequence[tuple[Route, Choice]],
    now: float,
) -> None:
    """Count what the peer calls its series, and by which route that is sent they are taken."""
    taken = {
        choice.series_instance_uid: route.settings.name
        for route, choice in choices
        if choice.is_taken and not route.settings.shadow
    }
    for uid in sorted(study.closing):
        candidate, instances = candidates[uid], study.instances[uid]
        if not isinstance(candidate, Unfit) and instances:
            description = str(candidate.header.get("SeriesDescription") or "")
            drift.describe(session, instances[0].peer, description, taken.get(uid), now=now)


def _tell(session: Session, study: WholeStudy, route: Route, choice: Choice, job_id: int | None, now: float) -> None:
    """Write the reason for taking or leaving a series to the log of the job that its study has become."""
    event = "series selected" if choice.is_taken else "series not selected"
    details = {"route": route.settings.name, "reason": choice.reason, "score": round(choice.score, 3)}
    keys = audit.keys_of(study.series[choice.series_instance_uid])
    audit.record(session, event, now=now, actor=STATION, details=details, job_id=job_id, **keys)
    ids = {"series_instance_uid": choice.series_instance_uid, "route": route.settings.name}
    log.info(event, extra=ids)


def job_key(
    series_instance_uid: str,
    inputs: Sequence[tuple[str, str]],
    application: Application,
    plan: Mapping[str, Any],
    shadow: str | None = None,
) -> str:
    """Digest all that makes a result: the instances and their content, the application, its weights and settings.

    With the name of a shadow route it is another than the key of what is sent, so that both stand side by side and a
    route that leaves the shadow computes, and sends, anew.
    """
    words = [series_instance_uid, sorted(inputs), application.name, application.version, plan]
    words += [] if shadow is None else [shadow]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def lineage_key(series_instance_uid: str, application: str, shadow: str | None = None) -> str:
    """Digest what all revisions of a series' result share."""
    words = [series_instance_uid, application, *([] if shadow is None else [shadow])]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
