"""``vb-node rules``: which route would take what, and why, without making a job of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from storage import arrivals, jobs
from storage.database import Database
from storage.schema import Instance, Series
from vb_node.config import Settings
from vb_node.dicom import read
from vb_node.dicom.read import read_folder
from vb_node.errors import ConfigError, Unfit
from vb_node.pipeline.application import Application, Candidate
from vb_node.pipeline.select import IMAGE_CLASSES
from vb_node.runtime.line import spool_of
from vb_node.runtime.routing import Router, candidate_of

Row = dict[str, object]


def candidate(instances: Sequence[read.Instance]) -> Candidate:
    """Give one header for a series, an image's where it has one."""
    images = [one for one in instances if one.header.SOPClassUID in IMAGE_CLASSES] or instances
    return Candidate(images[0].header, len(images))


def judge(path: Path, settings: Settings, applications: Mapping[str, Application]) -> list[Row]:
    """Say what each route makes of the series of a file, or of each series of a folder.

    Beside a file the others of its folder are looked at, as the node looks at a whole study.

    Raises
    ------
    ConfigError
        There is no DICOM file, or a rule is none.
    """
    folder = path if path.is_dir() else path.parent
    study = read_folder(folder, is_deep=path.is_dir()) if path.exists() else {}
    wanted = {uid for uid, series in study.items() if path in (folder, *(one.path for one in series))}
    if not wanted:
        raise ConfigError(f"a DICOM file or a folder with some expected, {path} is neither")
    candidates = {uid: candidate(series) for uid, series in study.items()}
    return [row for row in _rows(Router(settings, applications), candidates) if row["series_instance_uid"] in wanted]


def dry_run(
    database: Database, settings: Settings, applications: Mapping[str, Application], since: datetime
) -> Iterator[Row]:
    """Say what each route would make of each series that came since a time, and what was made of it."""
    router, spool = Router(settings, applications), spool_of(settings)
    shadows = {route.settings.name: route.shadow for route in router.routes}
    with database.read() as session:
        studies = arrivals.studies_since(session, since.timestamp())
    for uid in studies:
        with database.read() as session:
            series = arrivals.series_of_study(session, uid)
            instances = {one.series_instance_uid: _kept(session, one) for one in series}
        candidates = {
            series_uid: candidate_of(spool, kept) if kept else Unfit("retention has let its files go")
            for series_uid, kept in instances.items()
        }
        for row in _rows(router, candidates):
            with database.read() as session:
                yield row | {"until now": _made(session, row, shadows)}


def _kept(session: Session, series: Series) -> list[Instance]:
    found = arrivals.instances_of_series(session, series.series_instance_uid)
    return [one for one in found if one.deleted_at is None]


def _made(session: Session, row: Row, shadows: Mapping[str, str | None]) -> str:
    shadow = shadows[str(row["route"])]
    job = jobs.latest(session, str(row["series_instance_uid"]), str(row["application"]), shadow)
    return "no job" if job is None else f"job {job.id} {job.state}"


def _rows(router: Router, candidates: Mapping[str, Candidate | Unfit]) -> list[Row]:
    return [
        {
            "route": route.settings.name,
            "application": route.application.name,
            "series_instance_uid": choice.series_instance_uid,
            "is_taken": choice.is_taken,
            "reason": choice.reason,
            "destinations": [] if route.settings.shadow else list(route.settings.destinations),
        }
        for route, choice in router.choices(candidates)
    ]
