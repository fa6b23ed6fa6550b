"""What the ledger sums up for an auditor: times by day, the chain of the trail, re-runs, what is held of a person."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import audit
from storage.answers import RERUN, About, Row
from storage.chain import Broken
from storage.schema import Delivery, Event, Instance, Job, Result, Series


def times(session: Session, about: About) -> list[Row]:
    """Give, for each day in UTC, seconds from the last image to the end of the job and to its last delivery."""
    sent = select(func.max(Delivery.sent_at)).where(Delivery.job_id == Job.id).scalar_subquery()
    query = (
        select(Job.finished_at, Job.created_at, Series.last_arrival_at, sent)
        .join(Series, Job.series_instance_uid == Series.series_instance_uid)
        .where(Job.state == "COMPLETED", *about.of(Job, Job.finished_at))
    )
    days: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for finished_at, created_at, last_arrival_at, sent_at in session.execute(query):
        came_at = min(last_arrival_at, created_at)  # images that came later belong to a later job
        day = time.strftime("%Y-%m-%d", time.gmtime(finished_at))
        days[day].append((finished_at - came_at, math.nan if sent_at is None else sent_at - came_at))
    return [{"day": day, "jobs": len(pairs)} | _spread(pairs) for day, pairs in sorted(days.items())]


def _spread(pairs: Sequence[tuple[float, float]]) -> Row:
    """Give the percentiles, by nearest rank, of the two times; None where nothing was sent."""
    row: Row = {}
    for name, values in zip(("done", "sent"), zip(*pairs, strict=True), strict=True):
        known = sorted(value for value in values if not math.isnan(value))
        for percent in (50, 95, 100):
            at = max(math.ceil(percent / 100 * len(known)) - 1, 0)
            row[f"{name}_p{percent}_s"] = round(known[at], 1) if known else None
    return row


def chain(session: Session, about: About) -> list[Row]:
    """Say whether the lines in question, and their links to the lines around them, are as they were written."""
    is_all = about == About(limit=about.limit, keep_s=about.keep_s)
    try:
        part = audit.verify(session) if is_all else audit.verify_some(session, *about.of(Event, Event.at))
    except Broken as broken:
        return [{"is_whole": False, "lines": None, "last": None, "digest": None, "why": str(broken)}]
    return [{"is_whole": True, "lines": part.lines, "last": part.last, "digest": part.digest, "why": None}]


def reruns(session: Session, about: About) -> list[Row]:
    """Give what a job was run with and gave, and what each later run of the same gave."""
    query = (
        select(Job.id.label("job_id"), Job.key, Job.application, Job.version, Result.role, Result.sop_instance_uid)
        .add_columns(Result.sha256)
        .join(Result, Result.job_id == Job.id)
        .where(*about.of(Job))
        .order_by(Result.created_at, Result.rank)
    )
    made = session.execute(query).mappings().all()
    again = select(Event).where(Event.event == RERUN, *about.of(Event)).order_by(Event.seq)
    runs = session.scalars(again).all()
    return [_compared(dict(row), run) for row in made for run in runs or (None,)]


def _compared(row: Row, run: Event | None) -> Row:
    if run is None:
        return row | {"again_at": None, "again_sha256": None, "is_same": None}
    given = run.details.get("results", {}).get(row["sop_instance_uid"])
    return row | {"again_at": run.at, "again_sha256": given, "is_same": given == row["sha256"]}


def held(session: Session, about: About) -> list[Row]:
    """Give what is held of a patient by study: files of images, files of results, lines of the audit trail."""
    columns = func.count(), func.min(Series.accession_number), func.max(Series.last_arrival_at)
    studies = select(Series.study_instance_uid, *columns).where(*about.of(Series))
    rows: list[Row] = []
    for study, series, accession, last_at in session.execute(studies.group_by(Series.study_instance_uid)).all():
        own = {"study_instance_uid": study, "accession_number": accession}
        due_at = None if about.keep_s is None else last_at + about.keep_s
        rows.append({"what": "rows of series", **own} | _figures(series, None, 0, None, None))
        for what, files in (("files of images", _images), ("files of results", _results)):
            count, size, gone, gone_at = files(session, study)
            rows.append({"what": what, **own} | _figures(count, size, gone, gone_at, due_at if count > gone else None))
    lines = session.scalar(select(func.count()).select_from(Event).where(*about.of(Event))) or 0
    none = {"study_instance_uid": None, "accession_number": None}
    return [*rows, {"what": "lines of the audit trail", **none} | _figures(lines, None, 0, None, None)]


def _images(session: Session, study: str) -> tuple[int, int | None, int, float | None]:
    columns = (
        func.count(),
        func.sum(Instance.size_bytes),
        func.count(Instance.deleted_at),
        func.max(Instance.deleted_at),
    )
    count, size, gone, gone_at = session.execute(select(*columns).where(Instance.study_instance_uid == study)).one()
    return count, int(size or 0), gone, gone_at


def _results(session: Session, study: str) -> tuple[int, int | None, int, float | None]:
    columns = func.count(), func.count(Result.deleted_at), func.max(Result.deleted_at)
    query = select(*columns).join(Job, Result.job_id == Job.id).where(Job.study_instance_uid == study)
    count, gone, gone_at = session.execute(query).one()
    return count, None, gone, gone_at


def _figures(count: int, size: int | None, gone: int, gone_at: float | None, due_at: float | None) -> Row:
    return {"count": count, "size_bytes": size, "let_go": gone, "deleted_at": gone_at, "due_at": due_at}
