"""The assembler, turned by hand over a real ledger and spool: which series become jobs, and why the others do not."""

import hashlib
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories import data_set_of, head, mr_series
from pydicom.uid import generate_uid
from sqlalchemy import delete
from stations import House, series_of

from storage import audit, drift, jobs, stations
from storage.database import Database
from storage.schema import Instance
from vb_node.pipeline.application import installed
from vb_node.runtime.receive import Receiver

T1CE = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd"}
PLAIN = {"SeriesDescription": "3D MPRAGE", "ProtocolName": "MPRAGE", "ContrastBolusAgent": None}


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(**settings: object) -> House:
        made.append(House(tmp_path / str(len(made)), installed(), **settings))
        return made[-1]

    yield make
    for house in made:
        house.database.close()


def test_the_contrast_series_becomes_the_one_job_and_the_other_gets_its_reason(
    make_house: Callable[..., House],
) -> None:
    house, study = make_house(), generate_uid()
    house.send([*series_of(study, **T1CE), *series_of(study, SeriesDescription="AX T2 SPACE")])

    is_assembled = house.assemble()

    assert is_assembled
    (job,) = house.jobs()
    (left,) = house.events("series not selected")
    assert job.closed_by == "quiet for 10 s"
    assert len(job.inputs) == 20
    assert left.job_id == job.id
    assert "T2" in left.details["reason"]


def test_a_study_that_is_still_arriving_waits(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE))

    assert house.assemble(seconds_later=9.0) is False
    assert house.jobs() == []


def test_the_same_study_twice_is_one_job(make_house: Callable[..., House]) -> None:
    house = make_house()
    series = series_of(generate_uid(), **T1CE)
    house.send(series)
    house.assemble()

    house.send(series)

    house.assemble()
    assert len(house.jobs()) == 1


def test_the_order_of_arrival_does_not_change_the_job(make_house: Callable[..., House]) -> None:
    one, other = make_house(), make_house()
    series = series_of(generate_uid(), **T1CE)

    one.send(series)
    other.send(series[::-1])
    one.assemble()
    other.assemble()

    assert one.jobs()[0].key == other.jobs()[0].key


def test_a_late_slice_makes_a_job_that_supersedes(make_house: Callable[..., House]) -> None:
    house = make_house()
    series = series_of(generate_uid(), **T1CE)
    house.send(series[:-1])
    house.assemble()
    with house.database.write() as session:
        jobs.claim(session, "work", lease_s=60, now=1e12)

    house.send(series[-1:])
    house.assemble()

    first, second = house.jobs()
    assert second.supersedes_id == first.id
    assert second.key != first.key


def test_a_study_without_a_fitting_series_makes_no_job_and_says_why(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **PLAIN))

    house.assemble()

    (left,) = house.events("series not selected")
    assert house.jobs() == []
    assert "no evidence of contrast" in left.details["reason"]


def test_a_sites_rule_may_say_contrast(make_house: Callable[..., House]) -> None:
    house = make_house(virtual_biopsy={"contrast_when": 'SeriesDescription == "3D MPRAGE"'})
    house.send(series_of(generate_uid(), **PLAIN))

    house.assemble()

    assert len(house.jobs()) == 1


def test_a_route_whose_rule_does_not_match_takes_nothing(make_house: Callable[..., House]) -> None:
    house = make_house(routes=[{"name": "r", "when": 'StationName == "MR9"'}])
    house.send(series_of(generate_uid(), **T1CE))

    house.assemble()

    assert house.jobs() == []
    assert house.events("series not selected")[0].details["reason"] == "the route's rule does not match"


def test_a_shadow_route_computes_and_sends_nothing(make_house: Callable[..., House]) -> None:
    destination = {"name": "pacs", "ae_title": "PACS"}
    house = make_house(routes=[{"name": "r", "shadow": True, "destinations": ["pacs"]}], destinations=[destination])
    house.send(series_of(generate_uid(), **T1CE))

    house.assemble()

    assert house.jobs()[0].destinations == []


LIVE = {"name": "live", "destinations": ["pacs"]}
TRIAL = {"name": "trial", "priority": 9, "shadow": True, "virtual_biopsy": {"localizer": "classical"}}
PACS = {"name": "pacs", "ae_title": "PACS"}


def test_a_shadow_route_with_settings_of_its_own_makes_a_job_beside_the_live_one(
    make_house: Callable[..., House],
) -> None:
    house = make_house(routes=[LIVE, TRIAL], destinations=[PACS])
    house.send(series_of(generate_uid(), **T1CE))

    house.assemble()

    trial, live = house.jobs()
    assert [(job.route, job.state, job.is_shadow, job.supersedes_id) for job in (live, trial)] == [
        ("live", "SCHEDULED", False, None),
        ("trial", "SCHEDULED", True, None),
    ]
    assert (live.destinations, trial.destinations) == (["pacs"], [])
    assert (live.plan["localizer"], trial.plan["localizer"]) == ("network", "classical")
    assert live.key != trial.key


def test_a_shadow_route_with_the_live_settings_has_a_job_of_its_own_too(make_house: Callable[..., House]) -> None:
    house = make_house(routes=[LIVE, {"name": "trial", "shadow": True}], destinations=[PACS])
    house.send(series_of(generate_uid(), **T1CE))

    house.assemble()

    assert [job.is_shadow for job in house.jobs()] == [False, True]
    assert len({job.key for job in house.jobs()}) == 2


def test_a_late_slice_revises_live_and_shadow_each_for_itself(make_house: Callable[..., House]) -> None:
    house = make_house(routes=[LIVE, TRIAL], destinations=[PACS])
    series = series_of(generate_uid(), **T1CE)
    house.send(series[:-1])
    house.assemble()
    house.send(series[-1:])

    house.assemble()

    before = {job.route: job for job in house.jobs()[:2]}
    after = {job.route: job for job in house.jobs()[2:]}
    assert all(after[route].supersedes_id == before[route].id for route in ("live", "trial"))


def test_the_same_study_twice_is_one_live_and_one_shadow_job(make_house: Callable[..., House]) -> None:
    house = make_house(routes=[LIVE, TRIAL], destinations=[PACS])
    series = series_of(generate_uid(), **T1CE)
    house.send(series)
    house.assemble()

    house.send(series)

    house.assemble()
    assert len(house.jobs()) == 2


def test_what_a_peer_calls_its_series_is_counted_with_the_route_that_takes_it(make_house: Callable[..., House]) -> None:
    house = make_house(routes=[LIVE, TRIAL], destinations=[PACS])
    for _ in range(2):
        study = generate_uid()
        house.send([*series_of(study, **T1CE), *series_of(study, SeriesDescription="AX T2 \x00SPACE")])
        house.assemble()

    with house.database.read() as session:
        found = [(one.peer, one.description, one.route, one.series) for one in drift.descriptions(session)]
    assert found == [("PACS", "AX T1 +C", "live", 2), ("PACS", "AX T2 SPACE", None, 2)]


def test_two_routes_to_one_application_make_one_job(make_house: Callable[..., House]) -> None:
    routes = [{"name": "a", "destinations": ["x"]}, {"name": "b", "priority": 5, "destinations": ["y", "x"]}]
    destinations = [{"name": name, "ae_title": "PACS"} for name in ("x", "y")]
    house = make_house(routes=routes, destinations=destinations)
    house.send(series_of(generate_uid(), **T1CE))

    house.assemble()

    assert [(job.route, job.destinations) for job in house.jobs()] == [("b", ["y", "x"])]


def test_a_late_series_that_is_not_taken_tells_its_reason_to_the_job_of_its_study(
    make_house: Callable[..., House],
) -> None:
    house, study = make_house(), generate_uid()
    house.send(series_of(study, **T1CE))
    house.assemble()

    house.send(series_of(study, SeriesDescription="AX T2 SPACE"))
    house.assemble()

    (job,) = house.jobs()
    assert [event.job_id for event in house.events("series not selected")] == [job.id]


def test_lost_rows_are_rebuilt_from_the_spool(make_house: Callable[..., House], tmp_path: Path) -> None:
    house = make_house()
    series = series_of(generate_uid(), **T1CE)
    house.send(series)
    reborn = Database(f"sqlite:///{tmp_path / 'new.db'}")
    reborn.upgrade()

    rebuilt = Receiver(reborn, house.spool).recover()

    with reborn.read() as session:
        kept = {event.sop_instance_uid for event in audit.search(session, since=None, until=None, limit=100)}
    reborn.close()
    assert rebuilt == len(series)
    assert kept == {str(dataset.SOPInstanceUID) for dataset in series}


def test_a_lost_row_of_a_large_file_is_rebuilt_through_a_window(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(mr_series(head((1, 4096, 2048))))
    with house.database.write() as session:
        session.execute(delete(Instance))

    tracemalloc.start()
    rebuilt = house.receiver.recover()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert rebuilt == 1
    assert peak < 4 << 20


@pytest.mark.parametrize("size", [0, 100, None, 1000])
def test_half_a_file_goes_at_the_next_start_and_another_content_is_set_aside(
    make_house: Callable[..., House], size: int | None
) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE)[:1])
    (whole,) = list(house.spool)
    half, other = (whole.with_name(f"{'0' * 32}-{digit * 32}.dcm") for digit in "12")
    is_meta_alone = size is None
    content = whole.read_bytes()
    half.write_bytes(content[: -len(data_set_of(whole)) if is_meta_alone else size])
    other.write_bytes(whole.read_bytes())

    Receiver(house.database, house.spool).recover()

    assert not half.exists()
    assert list(house.spool) == [whole]
    assert other.with_suffix(".rejected").exists()


def test_half_a_file_that_this_listener_is_writing_is_left_alone(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE)[:1])
    half = next(iter(house.spool)).with_name(f"{'0' * 32}-{'1' * 32}.dcm")
    half.write_bytes(b"")

    house.receiver.recover()

    assert half.exists()


def test_what_cannot_be_moved_aside_does_not_stop_the_listener(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE)[:1])
    (whole,) = list(house.spool)
    other = whole.with_name(f"{'0' * 32}-{'1' * 32}.dcm")
    other.write_bytes(whole.read_bytes())
    other.with_suffix(".rejected").mkdir()
    with house.database.write() as session:
        session.execute(delete(Instance))

    rebuilt = Receiver(house.database, house.spool).recover()

    assert rebuilt == 1


def test_half_a_file_that_another_listener_may_be_writing_is_left_alone(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE)[:1])
    half = next(iter(house.spool)).with_name(f"{'0' * 32}-{'1' * 32}.dcm")
    half.write_bytes(b"")
    with house.database.write() as session:
        stations.start(session, "receive 2", now=time.time())

    house.receiver.recover()
    is_left_while_young = half.exists()
    os.utime(half, (0, 0))
    house.receiver.recover()

    assert (is_left_while_young, half.exists()) == (True, False)


def test_a_stored_file_is_what_was_received(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.send(series_of(generate_uid(), **T1CE)[:1])

    (event,) = house.events("instance received")
    (path,) = list(house.spool)

    assert path == house.spool.path_of(str(event.sop_instance_uid), event.details["sha256"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() != event.details["sha256"]  # the file has a head of its own
