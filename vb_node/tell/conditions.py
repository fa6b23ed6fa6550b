"""What those on duty should know, asked of the ledger by the queries that pages and metrics ask too."""

from collections.abc import Collection, Iterator

from sqlalchemy.orm import Session

from storage import arrivals, associations, audit, drift, exports, jobs, overview
from storage.alerts import Condition, Key
from storage.database import Database
from storage.disk import Disk
from vb_node.config import AlertsSettings, Settings
from vb_node.dimse.status import OUT_OF_RESOURCES
from vb_node.tell.descriptions import changes
from vb_node.tell.export import CURSOR

HOUR_S, DAY_S = 3600.0, 86400.0
USUAL_DAYS, OF_DAYS = 3, 7
"""A peer usually sends that did so on so many of the days before it fell silent."""
DISK_MARGIN = 0.02
"""Share of the disk that must be free again below the watermark: it moves all the time."""
MOST = 10_000
DISK = "data folder"
REFUSED_S = 900.0
LONGEST_LOG = 64 << 20
"""Bytes of commits that wait for a reader of the ledger to end: SQLite slows down with their number."""
KINDS = (
    "job stuck",
    "job quarantined",
    "jobs failed",
    "studies open",
    "delivery parked",
    "results late",
    "destination down",
    "peer silent",
    "disk high",
    "disk full",
    "scores drift",
    "descriptions new",
    "descriptions vanished",
    "audit repository away",
    "instances refused",
    "ledger log long",
    "station down",
)


def conditions(
    database: Database,
    settings: Settings,
    alerts: AlertsSettings,
    disk: Disk,
    raised: Collection[Key],
    now: float,
    down: Collection[str] = (),
) -> list[Condition]:
    """List what is so now; ``raised`` is what was so when one looked last, ``down`` the stations that do not run."""
    late = now - 60 * alerts.objective_min
    with database.read() as session:
        found = [*_stuck(session, late), *_quarantined(session), *_ways(session, settings, alerts, late, now)]
        found += [*_failed(session, now - DAY_S), *_open(session, now - 2 * settings.assemble.force_after_s)]
        found += _silent(session, settings, now - HOUR_S * alerts.silent_h)
        found += [*_scores(session), *_descriptions(session, settings, now)]
        if settings.audit is not None:
            found += _audit(session, late)
        if not disk.is_full():
            found += _refused(session, now - REFUSED_S)
    found += [Condition("station down", name, "it does not start, or is silent: its log says why") for name in down]
    return [*found, *_disk(disk, raised), *_log(database)]


def _stuck(session: Session, late: float) -> Iterator[Condition]:
    for state in ("SCHEDULED", "IN PROGRESS"):
        # a shadow job may wait as long as others come
        for job in jobs.listing(session, state=state, until=late, limit=MOST, is_shadow=False):
            detail = f"{state} and not ended in time: does the worker run? `vb-node jobs show {job.id}`"
            yield Condition("job stuck", f"job {job.id}", detail)


def _quarantined(session: Session) -> Iterator[Condition]:
    for job in jobs.listing(session, state="FAILED", reason="Quarantined", limit=MOST):
        detail = f"its computation died too often: look at it, then `vb-node jobs retry {job.id}`"
        yield Condition("job quarantined", f"job {job.id}", detail)


def _failed(session: Session, since: float) -> Iterator[Condition]:
    for reason, count in jobs.failed_without_report(session, since).items():
        detail = f"in a day {count} without a report: `vb-node jobs list --state FAILED` says why; then `jobs retry`"
        yield Condition("jobs failed", reason, detail)


def _open(session: Session, since: float) -> Iterator[Condition]:
    count, oldest = arrivals.open_since(session)
    if oldest is not None and oldest < since:
        detail = f"series that wait to be judged whole: {count}, one for too long; the log of this station says why"
        yield Condition("studies open", "assemble", detail)


def _ways(session: Session, settings: Settings, alerts: AlertsSettings, late: float, now: float) -> Iterator[Condition]:
    for way in overview.ways(session, [one.name for one in settings.destinations]):
        name, parked = way.destination, way.states.get("parked", 0)
        if parked:
            detail = f"results that wait for a person: {parked}; `vb-node jobs resume {name}` when it takes them"
            yield Condition("delivery parked", name, detail)
        if way.down_since is not None:
            if now - way.down_since >= 60 * alerts.down_min:
                detail = "it cannot be reached: its results wait, and go in order when it is back"
                yield Condition("destination down", name, detail)
        elif way.oldest is not None and way.oldest < late:
            yield Condition(
                "results late", name, "a result has not arrived in time: `vb-node doctor` asks the destination"
            )


def _silent(session: Session, settings: Settings, silent_since: float) -> Iterator[Condition]:
    peers = {one.ae_title for one in settings.receive.peers}
    peers |= {one.ae_title for one in (settings.web.peers if settings.web is not None else ())}
    for peer in sorted(peers):
        last = associations.last_arrival(session, peer)
        if last is None or last > silent_since:
            continue
        if associations.days(session, peer, since=last - OF_DAYS * DAY_S, until=last) >= USUAL_DAYS:
            yield Condition(
                "peer silent", peer, "it usually sends: ask the modality; were its address or AE title changed?"
            )


def _disk(disk: Disk, raised: Collection[Key]) -> Iterator[Condition]:
    margin = DISK_MARGIN if ("disk high", DISK) in raised else 0.0
    if disk.used >= disk.warn_at - margin:
        yield Condition("disk high", DISK, "above the watermark [retention] warn_at: free some space, or set days")
    if disk.is_full():
        yield Condition(
            "disk full", DISK, "instances are refused for want of space: free some, or set [retention] days"
        )


def _refused(session: Session, since: float) -> Iterator[Condition]:
    told = audit.search(session, since=since, until=None, limit=MOST, event="instance refused")
    if those := [one.details["why"] for one in told if one.details.get("status") == f"{OUT_OF_RESOURCES:04X}"]:
        detail = f"in {REFUSED_S / 60:g} minutes {len(those)}, the last one {those[-1]!r}: look at disk, ledger and log"
        yield Condition("instances refused", "receive", detail)


def _log(database: Database) -> Iterator[Condition]:
    if (backlog := database.log_backlog()) > LONGEST_LOG:
        detail = f"{backlog >> 20} MB cannot go from its log into its file: which program has been reading it for long?"
        yield Condition("ledger log long", "ledger", detail)


def _scores(session: Session) -> Iterator[Condition]:
    by_route: dict[str, list[str]] = {}
    for one in drift.listing(session):
        if one.is_drift:
            by_route.setdefault(one.route, []).append(f"{one.score} by {one.distance:.2f}")
    for route, scores in by_route.items():
        detail = f"not distributed as before: {', '.join(scores)}; see the page Drift, then scanner and protocol"
        yield Condition("scores drift", route, detail)


def _descriptions(session: Session, settings: Settings, now: float) -> Iterator[Condition]:
    found = changes(drift.descriptions(session), settings.drift, now)
    for (peer, change), those in found.items():
        taken = sum(one.route is not None for one in those)
        said = "not seen before" if change == "new" else "that came regularly, and come no more"
        detail = f"series descriptions {said}: {len(those)}, of which a route takes {taken}; see the page Drift"
        yield Condition(f"descriptions {change}", peer, detail)


def _audit(session: Session, late: float) -> Iterator[Condition]:
    since = exports.waiting_since(session, CURSOR)
    if since is not None and since < late:
        yield Condition("audit repository away", "audit", "its messages wait in the ledger; the log says why")
