"""What those on duty are told of, read off real ledgers: until the moment in which it is not so any more."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox import BEGIN, Outbox
from people import add_job
from sqlalchemy import delete, update

from storage import associations, audit, deliveries, drift, jobs, outages
from storage.alerts import Condition, Key
from storage.database import Database
from storage.disk import Disk
from storage.schema import Delivery, Drift, Job, Result, Series
from storage.spool import Spool
from vb_node.config import Settings, build
from vb_node.errors import Refused
from vb_node.runtime.receive import Receiver
from vb_node.tell.conditions import DAY_S, DISK, DISK_MARGIN, HOUR_S, KINDS, REFUSED_S, conditions

ALERTS = {"webhook": {"url": "https://duty/x", "secret_file": "secret"}}


class House:
    """A ledger, and what is told of it at a time."""

    def __init__(self, root: Path) -> None:
        self.outbox = Outbox(root)
        self.database: Database = self.outbox.database
        self.disk = Disk(root, warn_at=1.0, stop_at=1.0, stop_free_bytes=0)
        self.disk.mend()
        self.raised: list[Key] = []

    def told(self, now: float, **more: object) -> list[Condition]:
        peers = {"peers": [{"ae_title": "MR1"}]}
        to = [{"name": "pacs", "ae_title": "PACS"}]
        settings: Settings = build({"alerts": ALERTS, "receive": peers, "destinations": to} | more)
        assert settings.alerts is not None
        return conditions(self.database, settings, settings.alerts, self.disk, self.raised, now)

    def kinds(self, now: float, **more: object) -> list[Key]:
        return [one.key for one in self.told(now, **more)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.database.close()


def test_of_a_house_in_order_nothing_is_told(house: House) -> None:
    assert house.told(BEGIN) == []


def test_scores_that_drift_are_told_by_route(house: House) -> None:
    rows = [("brains", "confidence", True), ("brains", "novelty", False), ("trial", "confidence", False)]
    with house.database.write() as session:
        figures = {"distance": 0.31, "p_value": 1e-6, "recent": 60, "reference": 400, "at": BEGIN}
        drift.replace(session, [Drift(route=r, score=s, is_drift=so, **figures) for r, s, so in rows])

    (told,) = house.told(BEGIN)

    assert told.key == ("scores drift", "brains")
    assert told.detail.startswith("not distributed as before: confidence by 0.31;")


def test_a_protocol_that_was_renamed_is_told_by_peer_without_its_free_text(house: House) -> None:
    def told_after(first_day: int, end_day: int) -> list[Condition]:
        with house.database.write() as session:
            for day in range(first_day, end_day):
                name, route = ("T1 POST", "brains") if day < 100 else ("T1 POST Smith^John", None)
                drift.describe(session, "MR1", name, route, now=BEGIN + day * DAY_S)
                drift.describe(session, "MR1", "LOCALIZER", None, now=BEGIN + day * DAY_S)
        return house.told(BEGIN + end_day * DAY_S)

    before, soon, later = told_after(0, 100), told_after(100, 106), told_after(106, 112)

    assert [one.key for one in (*before, *soon, *later)] == [
        ("descriptions new", "MR1"),
        ("descriptions vanished", "MR1"),
    ]
    assert not any("Smith" in one.detail for one in soon)


def test_a_job_that_has_not_ended_in_time_is_told_until_it_has(house: House) -> None:
    job_id, begun = add_job(house.database), time.time()
    with house.database.write() as session:
        session.delete(jobs.deliveries_of(session, job_id)[0])

    before, after = house.kinds(begun + 29 * 60), house.kinds(begun + 31 * 60)
    with house.database.write() as session:
        claimed = jobs.claim(session, "work", lease_s=30, now=begun + 32 * 60)
        assert claimed is not None
    under_way = house.kinds(begun + 33 * 60)
    with house.database.write() as session:
        jobs.finish(session, claimed[1], "COMPLETED", [], now=begun + 34 * 60, outcome={})

    assert before == []
    assert after == under_way == [("job stuck", f"job {job_id}")]
    assert house.kinds(begun + 35 * 60) == []


def test_a_shadow_job_that_waits_for_others_is_not_told(house: House) -> None:
    add_job(house.database, is_shadow=True, route="trial")

    assert ("job stuck", "job 1") not in house.kinds(time.time() + 31 * 60)
    with house.database.read() as session:
        assert jobs.waiting_since(session) is None


def test_a_quarantined_job_is_told_until_it_is_retried(house: House) -> None:
    job_id, begun = add_job(house.database), time.time()
    with house.database.write() as session:
        session.delete(jobs.deliveries_of(session, job_id)[0])
        claimed = jobs.claim(session, "work", lease_s=30, now=begun + 1)
        assert claimed is not None
        jobs.give_up(session, claimed[1], now=begun + 2, reason="Quarantined", detail="it died five times")

    told = house.kinds(begun + 3)
    with house.database.write() as session:
        jobs.retry(session, job_id, now=begun + 4, user="olga")

    assert told == [("job quarantined", f"job {job_id}")]
    assert house.kinds(begun + 5) == []


def test_parked_deliveries_are_told_by_destination_until_somebody_sends_them_again(house: House) -> None:
    job_id, now = add_job(house.database), time.time()

    told = house.told(now)
    with house.database.write() as session:
        deliveries.send_again(session, jobs.deliveries_of(session, job_id)[0], now=now, user="olga")

    assert [one.key for one in told] == [("delivery parked", "pacs")]
    assert told[0].detail.startswith("results that wait for a person: 1;")
    assert house.kinds(now + 1) == []


def test_a_result_that_has_not_arrived_in_time_is_told(house: House) -> None:
    house.outbox.finish_job("pacs")

    assert house.kinds(BEGIN + 29 * 60) == []
    assert house.kinds(BEGIN + 31 * 60) == [("results late", "pacs")]


def test_a_destination_that_stays_down_is_told_once_and_not_its_late_results_too(house: House) -> None:
    house.outbox.finish_job("pacs")
    with house.database.write() as session:
        outages.keep(session, "pacs", "no route to host", now=BEGIN)

    early, late = house.kinds(BEGIN + 14 * 60), house.kinds(BEGIN + 60 * 60)
    with house.database.write() as session:
        outages.end(session, "pacs", now=BEGIN + 61 * 60)

    assert early == []
    assert late == [("destination down", "pacs")]
    assert ("destination down", "pacs") not in house.kinds(BEGIN + 62 * 60)


@pytest.mark.parametrize(("days", "is_told"), [(2, False), (3, True)])
def test_only_a_peer_that_usually_sends_is_missed(house: House, days: int, is_told: bool) -> None:
    for day in range(days):
        with house.database.write() as session:
            brought = associations.Brought("MR1", "10.0.0.5", BEGIN + day * DAY_S)
            associations.note(session, {str(day): brought}, listener="receive 1")
    last = BEGIN + (days - 1) * DAY_S

    assert house.kinds(last + 23 * HOUR_S) == []
    assert house.kinds(last + 25 * HOUR_S) == ([("peer silent", "MR1")] if is_told else [])


def test_a_peer_that_is_not_configured_is_not_missed(house: House) -> None:
    for day in range(5):
        with house.database.write() as session:
            brought = associations.Brought("GONE", "10.0.0.6", BEGIN + day * DAY_S)
            associations.note(session, {str(day): brought}, listener="receive 1")

    assert house.kinds(BEGIN + 30 * DAY_S) == []


def test_a_disk_about_the_watermark_is_told_once_until_it_is_clearly_below(house: House) -> None:
    used = house.disk.used
    high, edge, low = (
        Disk(house.disk.folder, warn_at=used + shift, stop_at=1.0, stop_free_bytes=0)
        for shift in (-0.01, DISK_MARGIN / 2, 3 * DISK_MARGIN)
    )

    told = []
    for disk in (edge, high, edge, low):
        house.disk = disk
        house.raised = house.kinds(BEGIN)
        told.append(house.raised)

    assert told == [[], [("disk high", DISK)], [("disk high", DISK)], []]


def test_a_disk_that_takes_nothing_more_is_told(house: House) -> None:
    house.disk = Disk(house.disk.folder, warn_at=1.0, stop_at=1.0, stop_free_bytes=1 << 60)

    assert house.kinds(BEGIN) == [("disk full", DISK)]


def test_r_13_instances_that_a_failing_disk_refuses_are_told_for_a_while(house: House, tmp_path: Path) -> None:
    receiver = Receiver(house.database, Spool(tmp_path / "spool"), house.disk)
    now = time.time()
    for code, why in (("C000", "not readable"), ("A700", "out of resources: OSError")):
        receiver.tell_refusal("MR1", "10.0.0.7", "1.2.3", Refused(why, int(code, 16)))
    receiver.close()

    (told,) = house.told(now + REFUSED_S - 60)
    house.disk = Disk(house.disk.folder, warn_at=1.0, stop_at=1.0, stop_free_bytes=1 << 60)
    full = house.kinds(now)

    assert told.key == ("instances refused", "receive")
    assert told.detail.startswith("in 15 minutes 1, the last one 'out of resources: OSError':")
    assert full == [("disk full", DISK)]  # that is the reason then
    house.disk = Disk(house.disk.folder, warn_at=1.0, stop_at=1.0, stop_free_bytes=0)
    assert house.kinds(now + REFUSED_S + 60) == []


def test_l_10_a_log_that_grows_because_somebody_reads_is_told_until_he_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb_node.tell.conditions.LONGEST_LOG", 1 << 20)

    with house.database.read() as reader:
        audit.verify(reader)
        for turn in range(20):
            with house.database.write() as session:
                audit.record(session, "written meanwhile", now=BEGIN, actor="w" * 99_999, details={"turn": turn})
        (told,) = house.told(BEGIN)

    assert told.key == ("ledger log long", "ledger")
    assert told.detail.startswith("2 MB cannot go")
    assert house.told(BEGIN) == []


def test_jobs_that_end_without_any_report_are_told_by_their_reason_for_a_day(house: House) -> None:
    failed = {"state": "FAILED", "finished_at": BEGIN}
    for reason in ("OutOfMemoryError", "IdentityConflict", "OutOfMemoryError", "Quarantined"):
        _edit_job(house, add_job(house.database), reason=reason, **failed)
    _edit_job(house, add_job(house.database), reason="OutOfMemoryError", is_shadow=True, **failed)

    told = [one for one in house.told(BEGIN + HOUR_S) if one.kind == "jobs failed"]

    assert [(one.subject, one.detail.split()[3]) for one in sorted(told, key=lambda one: one.subject)] == [
        ("IdentityConflict", "1"),
        ("OutOfMemoryError", "2"),
    ]
    assert "jobs failed" not in {kind for kind, _ in house.kinds(BEGIN + DAY_S + 1)}


def _edit_job(house: House, job_id: int, **values: object) -> None:
    with house.database.write() as session:
        session.execute(delete(Delivery).where(Delivery.job_id == job_id))
        session.execute(delete(Result).where(Result.job_id == job_id))
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def test_a_series_that_nothing_closes_is_told(house: House) -> None:
    with house.database.write() as session:
        session.add(
            Series(
                series_instance_uid="1.9",
                study_instance_uid="1",
                patient_id="P",
                accession_number="A",
                instances=1,
                opened_at=BEGIN,
                last_arrival_at=BEGIN,
            )
        )

    force = {"assemble": {"force_after_s": 3600}}

    assert house.kinds(BEGIN + 2 * HOUR_S - 1, **force) == []
    assert house.kinds(BEGIN + 2 * HOUR_S + 1, **force) == [("studies open", "assemble")]


def test_a_trail_that_its_repository_does_not_take_is_told(house: House) -> None:
    with house.database.write() as session:
        audit.record(session, "logout", now=BEGIN, actor="web")
    section = {"host": "audit", "tls": {"ca": "ca.pem"}}

    assert house.kinds(BEGIN + 29 * 60, audit=section) == []
    assert house.kinds(BEGIN + 31 * 60, audit=section) == [("audit repository away", "audit")]


def test_no_word_of_a_patient_is_in_an_alert(house: House) -> None:
    canary = "CANARY7"
    job_id = add_job(house.database, patient_id=canary, accession_number=canary)
    with house.database.write() as session:
        jobs.deliveries_of(session, job_id)[0].detail = f"refused {canary}"
        outages.keep(session, "pacs", f"refused {canary}", now=BEGIN)

    told = house.told(time.time() + DAY_S)

    assert {one.kind for one in told} == {"job stuck", "delivery parked", "destination down", "studies open"}
    assert canary not in repr(told)


def test_every_kind_that_is_told_is_known_to_the_metrics_and_explained() -> None:
    source = Path(conditions.__code__.co_filename).read_text("utf-8")
    explained = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")

    told = set(re.findall(r'Condition\(\s*"([^"]+)"', source)) | {"descriptions new", "descriptions vanished"}

    assert told == set(KINDS)
    assert [kind for kind in KINDS if f"`{kind}`" not in explained] == []
