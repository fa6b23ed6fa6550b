"""``/metrics`` for Prometheus: counted in the ledger, which all processes share, when it is asked for.

Counters begin with the web station, as Prometheus expects of a process. A label is a word of the configuration or of
this program, never of a peer or a data set (RELIABILITY D8): what has no such word is "other".
"""

import hmac
import threading
import time
from collections import Counter as Counted
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from storage import (
    alerts,
    arrivals,
    associations,
    comparisons,
    deliveries,
    drift,
    exports,
    jobs,
    outages,
    stations,
    tally,
)
from storage.database import Database
from storage.disk import Disk
from vb_node.config import Settings
from vb_node.pipeline.summary import numbers
from vb_node.tell.conditions import KINDS
from vb_node.tell.descriptions import changes
from vb_node.tell.export import CURSOR
from vb_node.web.users import bearer_of, host_of

OTHER = "other"
SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800)
DONE = {f"delivery {state}": state for state in ("sent", "committed", "superseded")}
ENDS = {f"job {state.lower()}": state for state in ("COMPLETED", "FAILED", "CANCELED")}


class Families:
    """Every metric by its name."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = here = CollectorRegistry()
        self.received = Counter("vbnode_instances_received", "Instances answered Success.", ["peer"], registry=here)
        self.refused = Counter("vbnode_instances_refused", "Instances refused.", ["status"], registry=here)
        self.rejected = Counter("vbnode_associations_rejected", "Associations and requests rejected.", registry=here)
        self.last = Gauge(
            "vbnode_peer_last_arrival_timestamp_seconds", "When a peer last sent.", ["peer"], registry=here
        )
        self.jobs = Gauge("vbnode_jobs", "Jobs in the ledger.", ["state"], registry=here)
        self.ended = Counter("vbnode_jobs_ended", "Jobs that ended.", ["state"], registry=here)
        self.step = Histogram(
            "vbnode_step_seconds", "Seconds of a step.", ["application", "step"], registry=here, buckets=SECONDS
        )
        self.length = Gauge("vbnode_queue_length", "What waits on a shelf.", ["shelf"], registry=here)
        self.oldest = Gauge("vbnode_queue_oldest_seconds", "How long the oldest waits.", ["shelf"], registry=here)
        self.deliveries = Gauge(
            "vbnode_deliveries", "Deliveries that are not done.", ["destination", "state"], registry=here
        )
        self.done = Counter("vbnode_deliveries_done", "Deliveries done.", ["destination", "state"], registry=here)
        self.outage = Gauge(
            "vbnode_destination_outage_seconds", "Since when it is down; 0: up.", ["destination"], registry=here
        )
        self.used = Gauge("vbnode_disk_used_ratio", "Share of the data folder's disk in use.", registry=here)
        self.free = Gauge("vbnode_disk_free_bytes", "Free on the data folder's disk.", registry=here)
        self.full = Gauge("vbnode_disk_full", "1 while instances are refused for want of space.", registry=here)
        self.alerts = Gauge("vbnode_alerts", "Alerts that are raised.", ["kind"], registry=here)
        self.pairs = Gauge(
            "vbnode_shadow_pairs", "Shadow results compared with live ones.", ["route", "agreement"], registry=here
        )
        self.distance = Gauge(
            "vbnode_drift_distance", "Kolmogorov-Smirnov distance to before, 0-1.", ["route", "score"], registry=here
        )
        self.drift = Gauge("vbnode_drift", "1 while a score drifts.", ["route", "score"], registry=here)
        self.described = Gauge(
            "vbnode_descriptions_changed", "Series descriptions new or vanished.", ["peer", "change"], registry=here
        )
        self.heard = Gauge(
            "vbnode_station_heard_timestamp_seconds", "When a station was last heard.", ["station"], registry=here
        )


class Metrics:
    """Answers ``/metrics``: to this machine, or to who shows the token of ``metrics_token_file``."""

    def __init__(self, database: Database, settings: Settings, disk: Disk) -> None:
        self._database, self._settings, self._disk = database, settings, disk
        web = settings.web
        self._token_file = web.metrics_token_file if web is not None else None
        peers = {one.ae_title for one in settings.receive.peers}
        self._peers = peers | {one.ae_title for one in (web.peers if web is not None else ())}
        self._names = {one.name for one in settings.destinations}
        self._routes = {one.name for one in settings.routes}
        self._lock = threading.Lock()
        self._now = Families()
        with database.read() as session:
            self._seen = tally.end(session)
            for peer in self._peers:
                self._now.last.labels(peer).set(associations.last_arrival(session, peer) or 0)

    def routes(self) -> list[BaseRoute]:
        return [Route("/metrics", self.answer)]

    def answer(self, request: Request) -> Response:
        if not _is_let_in(request, self._token_file):
            raise HTTPException(401, "the token of [web] metrics_token_file expected", {"WWW-Authenticate": "Bearer"})
        with self._lock, self._database.read() as session:
            self._count(session)
            self._look(session, time.time())
            self._look_at_changes(session, time.time())
            return Response(generate_latest(self._now.registry), media_type=CONTENT_TYPE_LATEST)

    def _count(self, session: Session) -> None:
        """Add what the trail has gained since the last answer."""
        now, after, last = self._now, self._seen, tally.end(session)
        for count in tally.events(session, after, last):
            peer = _word(count.peer, self._peers)
            if count.event == "instance received":
                now.received.labels(peer).inc(count.lines)
                now.last.labels(peer).set(count.last_at)
            elif count.event == "association rejected":
                now.rejected.inc(count.lines)
            elif count.event in ENDS:
                now.ended.labels(ENDS[count.event]).inc(count.lines)
            elif count.event in DONE:
                now.done.labels(_word(count.peer, self._names), DONE[count.event]).inc(count.lines)
        for status, lines in tally.refusals(session, after, last).items():
            now.refused.labels(status).inc(lines)
        for application, outcome in tally.outcomes(session, after, last):
            for step, seconds in numbers((outcome or {}).get("seconds")).items():
                now.step.labels(application, step).observe(seconds)
        self._seen = last

    def _look(self, session: Session, at: float) -> None:
        """Set what is so now."""
        now = self._now
        counts = jobs.counts(session)
        for state, count in counts.items():
            now.jobs.labels(state).set(count)
        self._wait("arrivals", *arrivals.open_since(session), at)
        self._wait("jobs", counts["SCHEDULED"], jobs.waiting_since(session), at)
        self._look_at_deliveries(session, at)
        down = {outage.destination: outage.since for outage in outages.listing(session)}
        for one in self._settings.destinations:
            now.outage.labels(one.name).set(at - down[one.name] if one.name in down else 0)
        for station in stations.listing(session):
            now.heard.labels(station.name).set(station.beat_at)
        now.used.set(self._disk.used)
        now.free.set(self._disk.free_bytes)
        now.full.set(self._disk.is_full())

    def _look_at_deliveries(self, session: Session, at: float) -> None:
        queues = deliveries.queues(session)
        counts = {(name, state): 0 for name in self._names for state in deliveries.OPEN}
        for (name, state), queue in queues.items():
            label = _word(name, self._names), state
            counts[label] = counts.get(label, 0) + queue.length
        for (name, state), count in counts.items():
            self._now.deliveries.labels(name, state).set(count)
        waiting = [queue for (_, state), queue in queues.items() if state in deliveries.UNDER_WAY]
        since = min((queue.since for queue in waiting), default=None)
        self._wait("deliveries", sum(queue.length for queue in waiting), since, at)

    def _look_at_changes(self, session: Session, at: float) -> None:
        """Set what is told to others, and what changes without an error."""
        now, raised = self._now, Counted(one.kind for one in alerts.raised(session))
        for kind in KINDS:
            now.alerts.labels(kind).set(raised[kind])
        self._wait("notices", *alerts.undelivered(session), at)
        if self._settings.audit is not None:
            self._wait("audit", exports.waiting(session, CURSOR), exports.waiting_since(session, CURSOR), at)
        for family in (now.pairs, now.distance, now.drift, now.described):
            family.clear()
        for (route, is_disagreement), count in comparisons.counts(session).items():
            now.pairs.labels(_word(route, self._routes), "no" if is_disagreement else "yes").inc(count)
        for one in drift.listing(session):
            now.distance.labels(_word(one.route, self._routes), one.score).set(one.distance)
            now.drift.labels(_word(one.route, self._routes), one.score).set(one.is_drift)
        described = changes(drift.descriptions(session), self._settings.drift, at)
        for (peer, change), those in described.items():
            now.described.labels(_word(peer, self._peers), change).inc(len(those))

    def _wait(self, shelf: str, count: int, since: float | None, at: float) -> None:
        self._now.length.labels(shelf).set(count)
        self._now.oldest.labels(shelf).set(0 if since is None else at - since)


def _word(name: str | None, known: Collection[str]) -> str:
    return name if name is not None and name in known else OTHER


def _is_let_in(request: Request, token_file: Path | None) -> bool:
    if token_file is None:
        return ip_address(host_of(request) or "0.0.0.0").is_loopback  # noqa: S104  no address: a stranger's
    try:
        token = token_file.read_bytes().strip()
    except OSError:
        return False
    return len(token) > 0 and hmac.compare_digest(bearer_of(request).encode(), token)
