"""What must hold after any kill (RELIABILITY.md 5.1, I1-I10), read from the ledger, the disk and the PACS."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from sqlalchemy import select

from storage import audit, chain, jobs
from storage.database import Database
from storage.schema import Delivery, Event, Instance, Job, Result
from storage.spool import Spool

MOST_SENDS, MOST_PREMATURE, LONGEST_DRAIN_S = 1.25, 0.001, 60.0
META_LENGTH_AT, META_START = slice(140, 144), 144
ROLES = {"COMPLETED": ["FIRST", "SECOND"], "FAILED": ["REFUSAL"]}


@dataclass(frozen=True)
class Seen:
    """What the peers saw: ``answered`` and ``stored`` are (UID, SHA-256 of the data set), ``series`` its instances."""

    answered: Mapping[str, str]
    series: Mapping[str, Collection[str]]
    stored: Sequence[tuple[str, str]]
    drain_s: float


@dataclass(frozen=True)
class Finding:
    """One invariant with its figures; ``wrong`` names what breaks it."""

    name: str
    wrong: Sequence[str]
    told: str = ""

    def __str__(self) -> str:
        verdict = "holds" if not self.wrong else f"FAILS ({len(self.wrong)}): {', '.join(self.wrong[:3])}"
        return f"{self.name} {verdict}{'; ' if self.told else ''}{self.told}"


class Ledger:
    """All rows of a node at rest."""

    def __init__(self, home: Path, url: str = "") -> None:
        self.home, self.url = home, url or f"sqlite:///{home / 'ledger.db'}"
        database = Database(self.url)
        with database.read() as session:
            self.instances = {one.sop_instance_uid: one for one in session.scalars(select(Instance))}
            self.jobs = [jobs.get(session, number) for number in session.scalars(select(Job.id).order_by(Job.id))]
            self.results = {one.sop_instance_uid: one for one in session.scalars(select(Result))}
            self.deliveries = list(session.scalars(select(Delivery)))
            self.events = list(session.scalars(select(Event).order_by(Event.seq)))
        database.close()

    def count(self, event: str) -> Counter[str]:
        """Count the events of one name by SOP instance."""
        return Counter(str(line.sop_instance_uid) for line in self.events if line.event == event)


def check(ledger: Ledger, seen: Seen) -> list[Finding]:
    """Check every invariant."""
    return [
        answered_is_kept(ledger, seen.answered),
        one_current_result(ledger, seen.series),
        pacs_has_what_was_sent(ledger, seen.stored),
        one_content_a_uid(ledger, seen.stored),
        few_sends(ledger, seen.stored),
        nothing_premature(ledger, seen.series),
        nothing_left_behind(ledger),
        audit_is_whole(ledger, seen.answered),
        ledger_is_sound(ledger),
        Finding("I10 drained", ["slow"] if seen.drain_s > LONGEST_DRAIN_S else [], f"{seen.drain_s:.0f} s"),
    ]


def data_set_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[META_START + int.from_bytes(content[META_LENGTH_AT], "little") :]).hexdigest()


def answered_is_kept(ledger: Ledger, answered: Mapping[str, str]) -> Finding:
    on_disk = {_identity(path) for path in (ledger.home / "spool").rglob("*.dcm")}
    wrong = [
        uid
        for uid, sha256 in answered.items()
        if uid not in ledger.instances or ledger.instances[uid].sha256 != sha256 or (uid, sha256) not in on_disk
    ]
    return Finding("I1 answered is kept", wrong, f"{len(answered)} answered")


def _identity(path: Path) -> tuple[str, str] | None:
    """Give (UID, SHA-256 of the data set) of a spool file; None for one that a cut has emptied."""
    try:
        return str(read_file_meta_info(path).MediaStorageSOPInstanceUID), data_set_digest(path)
    except InvalidDicomError:
        return None


def one_current_result(ledger: Ledger, series: Mapping[str, Collection[str]]) -> Finding:
    """Hold the newest job of each series against what was sent, and each result against the lease it was made under."""
    wrong = [f"series {uid}" for uid, sent in series.items() if not _is_current(ledger, uid, sent)]
    wrong += [f"result {one.sop_instance_uid}" for one in ledger.results.values() if not _is_fenced(ledger, one)]
    return Finding("I2 one current result", wrong, f"{len(series)} series, {len(ledger.results)} results")


def _is_current(ledger: Ledger, series_instance_uid: str, sent: Collection[str]) -> bool:
    of_series = [job for job in ledger.jobs if job.series_instance_uid == series_instance_uid]
    current = [job for job in of_series if job.state != "CANCELED"][-1:]
    return bool(current) and all(
        {item.sop_instance_uid for item in job.inputs} == set(sent)
        and sorted(result.role for result in job.results) == ROLES.get(job.state)
        for job in current
    )


def _is_fenced(ledger: Ledger, result: Result) -> bool:
    """Say whether the attempt in a result's path was the last that had claimed the job when the result was written."""
    written = next(
        line.seq
        for line in ledger.events
        if line.event == "result created" and line.sop_instance_uid == result.sop_instance_uid
    )
    claims = [
        line
        for line in ledger.events
        if line.event == "job claimed" and line.job_id == result.job_id and line.seq < written
    ]
    return Path(result.path).parent.name == str(len(claims))


def pacs_has_what_was_sent(ledger: Ledger, stored: Sequence[tuple[str, str]]) -> Finding:
    done = {one.sop_instance_uid for one in ledger.deliveries if one.state in ("sent", "committed")}
    wrong = sorted(done ^ {uid for uid, _ in stored}) + [
        f"delivery {one.id} {one.state}" for one in ledger.deliveries if one.sop_instance_uid not in done
    ]
    wrong += sorted(f"unsent {uid}" for uid in set(ledger.results) - done)
    return Finding("I3 PACS has what was sent", wrong, f"{len(done)} sent")


def one_content_a_uid(ledger: Ledger, stored: Sequence[tuple[str, str]]) -> Finding:
    results = ledger.home / "results"
    whole = {uid: one for uid, one in ledger.results.items() if _is_whole(results / one.path, one.sha256)}
    content = {uid: data_set_digest(results / one.path) for uid, one in whole.items()}
    wrong = [uid for uid, sha256 in set(stored) if content.get(uid) != sha256]
    return Finding(
        "I4 one content a UID", wrong + sorted(set(ledger.results) - set(whole)), f"{len(set(stored))} pairs"
    )


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def few_sends(ledger: Ledger, stored: Sequence[tuple[str, str]]) -> Finding:
    ratio = len(stored) / max(1, len(ledger.results))
    wrong = [f"{ratio:.2f}"] if ratio > MOST_SENDS else []
    return Finding("I5 few sends", wrong, f"{len(stored)} stores of {len(ledger.results)} results, {ratio:.2f}")


def nothing_premature(ledger: Ledger, series: Mapping[str, Collection[str]]) -> Finding:
    premature = {
        str(line.series_instance_uid)
        for line in ledger.events
        if line.event == "series closed" and line.details["instances"] < len(series[str(line.series_instance_uid)])
    }
    wrong = sorted(premature) if len(premature) > MOST_PREMATURE * len(series) else []
    return Finding("I6 nothing closed too early", wrong, f"{len(premature)} of {len(series)} series")


def nothing_left_behind(ledger: Ledger) -> Finding:
    """Look, after a start, for files in spool and results that the ledger does not name."""
    spool, results = Spool(ledger.home / "spool"), ledger.home / "results"
    named = {spool.path_of(one.sop_instance_uid, one.sha256) for one in ledger.instances.values()}
    named |= {results / one.path for one in ledger.results.values()}
    found = {path for folder in (spool.root, results) for path in folder.rglob("*.*")}
    return Finding("I7 nothing left behind", sorted(path.name for path in found - named), f"{len(found)} files")


def audit_is_whole(ledger: Ledger, answered: Mapping[str, str]) -> Finding:
    wrong, previous = [], chain.ORIGIN
    for line in ledger.events:
        if line.previous != previous or line.digest != audit.digest_of(line):
            wrong.append(f"line {line.seq}")
        previous = line.digest
    sent = {one.sop_instance_uid for one in ledger.deliveries if one.state == "sent"}
    for event, uids in {
        "instance received": {*answered, *ledger.instances},
        "result created": set(ledger.results),
        "delivery sent": sent,
    }.items():
        told = ledger.count(event)
        wrong += [f"{event} {told[uid]} times {uid}" for uid in sorted(uids) if told[uid] != 1]
    return Finding("I8 audit is whole", wrong, f"{len(ledger.events)} lines")


def ledger_is_sound(ledger: Ledger) -> Finding:
    """Look at every page and every index of an SQLite ledger."""
    words = ["ok"]
    if ledger.url.startswith("sqlite"):
        with closing(sqlite3.connect(ledger.home / "ledger.db")) as connection:
            words = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return Finding("I9 ledger is sound", [] if words == ["ok"] else words)
