"""Watches the studies that are open: gathers what the evidence needs, and reads each instance once."""

from dataclasses import replace
from itertools import groupby, islice
from operator import attrgetter

from sqlalchemy.orm import Session

from storage import arrivals, associations, stations
from storage.database import Database
from storage.schema import Series, Station
from storage.spool import Spool
from vb_node.dicom.glance import Glance, glance
from vb_node.runtime import receive
from vb_node.runtime.evidence import OpenStudy
from vb_node.runtime.inquiry import Inquiry

MOST_A_TURN = 200
"""Files read in one turn: a study of thousands does not hold up the others."""


class Watch:
    """What is known of the open studies, kept between turns."""

    def __init__(self, database: Database, spool: Spool, inquiry: Inquiry | None = None) -> None:
        self.database = database
        self.spool = spool
        self.inquiry = inquiry
        self._seen: dict[str, dict[str, Glance]] = {}  # by series and SOP Instance UID

    def open_studies(self, now: float) -> list[OpenStudy]:
        """List the open studies with all that is known of each."""
        with self.database.read() as session:
            listener = stations.get(session, receive.STATION)
            by_study = groupby(arrivals.open_series(session), attrgetter("study_instance_uid"))
            studies = [self._study(session, list(series), listener) for _, series in by_study]
        self._forget(studies)
        return [self._asked(study, now) for study in studies]

    def _study(self, session: Session, series: list[Series], listener: Station | None) -> OpenStudy:
        uids = [one.series_instance_uid for one in series]
        ids = {key for counts in associations.by_series(session, uids).values() for key in counts}
        senders = associations.get(session, {one for one in ids if one is not None})
        return OpenStudy(
            series,
            listener.started_at if listener else 0.0,
            listener.beat_at if listener else 0.0,
            senders,
            is_all_known=bool(senders) and None not in ids,
            glances={one.series_instance_uid: self._glances(session, one) for one in series},
        )

    def _glances(self, session: Session, series: Series) -> list[Glance]:
        """Look at the instances that came since the last turn."""
        seen = self._seen.setdefault(series.series_instance_uid, {})
        if len(seen) < series.instances:
            contents = arrivals.contents_of_series(session, series.series_instance_uid)
            new = ((uid, sha256) for uid, sha256 in contents if uid not in seen)
            for uid, sha256 in islice(new, MOST_A_TURN):
                seen[uid] = glance(self.spool.path_of(uid, sha256))
        return list(seen.values())

    def _asked(self, study: OpenStudy, now: float) -> OpenStudy:
        if self.inquiry is None or study.is_arriving:
            return study
        uid = study.study_instance_uid
        return replace(study, counted=self.inquiry.counted(uid, study.stirred_at, now))

    def _forget(self, studies: list[OpenStudy]) -> None:
        open_series = {one.series_instance_uid for study in studies for one in study.series}
        self._seen = {uid: seen for uid, seen in self._seen.items() if uid in open_series}
        if self.inquiry is not None:
            self.inquiry.keep({study.study_instance_uid for study in studies})
