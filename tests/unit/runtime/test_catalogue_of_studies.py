"""Studies as they should not come (RELIABILITY.md, catalogue D): what becomes of them on the shelf JOBS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import time

import pytest
from pydicom import DataElement, Dataset, config
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    KeyObjectSelectionDocumentStorage,
    TwelveLeadECGWaveformStorage,
    generate_uid,
)
from stations import House, series_of

from storage import arrivals, audit, jobs
from storage.schema import Instance
from vb_node.config import WorkSettings
from vb_node.pipeline.application import installed
from vb_node.runtime.work import Worker

T1CE = {"SeriesDescription": "AX T1 +C", "ContrastBolusAgent": "Gd"}


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[Callable[[], House]]:
    made: list[House] = []

    def make() -> House:
        destination = {"name": "pacs", "ae_title": "PACS"}
        route = {"name": "r", "destinations": ["pacs"]}
        made.append(House(tmp_path / str(len(made)), installed(), routes=[route], destinations=[destination]))
        return made[-1]

    yield make
    for house in made:
        house.database.close()


def _work(house: House, root: Path) -> None:
    worker = Worker(house.database, house.spool, root / "results", installed(), WorkSettings(), "serial")
    assert worker.step(time())


def _study(**attributes: object) -> list[Dataset]:
    return series_of(str(generate_uid()), **(T1CE | attributes))


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_d_05_the_order_of_slices_does_not_change_the_job(make_house: Callable[[], House], seed: int | None) -> None:
    ordered, mixed = make_house(), make_house()
    series = _study()
    other = series_of(series[0].StudyInstanceUID, SeriesDescription="AX T2 SPACE")
    ordered.send([*series, *other])
    shuffled = [*series, *other][::-1]
    if seed is not None:
        Random(seed).shuffle(shuffled)

    mixed.send(shuffled)

    ordered.assemble()
    mixed.assemble()
    assert [job.key for job in mixed.jobs()] == [job.key for job in ordered.jobs()]


@pytest.mark.parametrize("late_s", [1.0, 3600.0, 86400.0])
def test_d_06_a_late_slice_makes_a_revision_and_loses_nothing(make_house: Callable[[], House], late_s: float) -> None:
    house = make_house()
    series = _study()
    house.send(series[:-1])
    house.assemble(seconds_later=11.0 + late_s)
    with house.database.write() as session:
        jobs.claim(session, "work", lease_s=60, now=1e12)

    house.send(series[-1:])
    house.assemble()

    first, second = house.jobs()
    assert (len(first.inputs), len(second.inputs)) == (len(series) - 1, len(series))
    assert second.supersedes_id == first.id


def test_d_07_a_missing_slice_ends_in_a_job_that_says_so(make_house: Callable[[], House], tmp_path: Path) -> None:
    house = make_house()
    series = _study()
    house.send(series[:8] + series[9:])
    house.assemble()

    _work(house, tmp_path)

    (job,) = house.jobs()
    assert (job.state, job.reason) == ("FAILED", "MissingSlices")
    assert "1 slice missing" in str(job.detail)
    assert [result.role for result in job.results] == ["SR", "KEY"]


@pytest.mark.parametrize(
    ("keyword", "garbage"),
    [("ImagePositionPatient", "1e400"), ("PixelSpacing", "NaN"), ("StudyDate", "9999999"), ("StudyTime", "99zz")],
)
def test_d_23_garbage_numbers_and_dates_are_stored_and_end_cleanly(
    make_house: Callable[[], House], tmp_path: Path, keyword: str, garbage: str
) -> None:
    house = make_house()
    series = _study()
    for dataset in series:
        element = dataset[keyword]
        values = [garbage] * element.VM
        dataset[keyword] = DataElement(element.tag, element.VR, values, validation_mode=config.IGNORE)
    house.send(series)
    house.assemble()

    _work(house, tmp_path)

    (job,) = house.jobs()
    assert len(job.inputs) == len(series)
    assert job.state == "FAILED"
    assert job.reason in {"BadGeometry", "NoBrain"}


def test_d_30_a_patient_that_changes_within_a_series_is_held(make_house: Callable[[], House], tmp_path: Path) -> None:
    house = make_house()
    series = _study()
    for dataset in series[10:]:
        dataset.PatientID = "OTHER-2"

    house.send(series)
    house.assemble()

    _assert_held(house, tmp_path)


def test_files_that_are_no_longer_there_are_no_second_patient(
    make_house: Callable[[], House],
) -> None:
    house = make_house()
    series = _study()
    house.send(series[:-1])
    house.assemble()
    house.assemble()  # which forgets what was looked at
    with house.database.read() as session:
        _, *others = arrivals.instances_of_series(session, series[0].SeriesInstanceUID)
    for one in others:
        house.spool.path_of(one.sop_instance_uid, one.sha256).unlink()

    house.send(series[-1:])
    house.assemble()

    late = house.jobs()[-1]
    assert len(late.inputs) == len(series)
    assert (late.state, late.is_held) == ("SCHEDULED", False)


def test_d_30_a_name_that_changes_within_a_series_is_held(make_house: Callable[[], House], tmp_path: Path) -> None:
    house = make_house()
    series = _study()
    series[3].PatientName = "Somebody^Else"

    house.send(series)
    house.assemble()

    _assert_held(house, tmp_path)


def test_d_31_two_patients_with_one_study_uid_are_held(make_house: Callable[[], House], tmp_path: Path) -> None:
    house = make_house()
    one = _study()
    other = series_of(one[0].StudyInstanceUID, PatientID="OTHER-2", SeriesDescription="AX T2 SPACE")

    house.send([*one, *other])
    house.assemble()

    _assert_held(house, tmp_path)


def test_d_31_a_second_patient_that_comes_later_is_held_and_the_first_result_stays(
    make_house: Callable[[], House],
) -> None:
    house = make_house()
    one = _study(MRAcquisitionType="2D")
    house.send(one)
    house.assemble()

    house.send(series_of(one[0].StudyInstanceUID, PatientID="OTHER-2", MRAcquisitionType="3D", **T1CE))
    house.assemble()

    assert [(job.patient_id, job.state, job.reason) for job in house.jobs()] == [
        ("PHANTOM-1", "SCHEDULED", None),
        ("OTHER-2", "FAILED", "IdentityConflict"),
    ]


def _assert_held(house: House, tmp_path: Path) -> None:
    (job,) = house.jobs()
    worker = Worker(house.database, house.spool, tmp_path / "results", installed(), WorkSettings(), "serial")

    assert (job.state, job.reason, job.is_held) == ("FAILED", "IdentityConflict", True)
    assert "correct it at its source" in str(job.detail)
    assert not worker.step(time())
    (told,) = house.events("job failed")
    assert (told.outcome, told.details["reason"]) == ("failure", "IdentityConflict")
    with house.database.write() as session, pytest.raises(jobs.NotNow, match="is held"):
        jobs.retry(session, job.id, now=time(), user="somebody")
    with house.database.read() as session:
        assert jobs.deliveries_of(session, job.id) == []


@pytest.mark.parametrize("date", ["19000101", "21001231"])
def test_d_32_the_time_of_receipt_is_ours_not_the_senders(make_house: Callable[[], House], date: str) -> None:
    house = make_house()
    began = time()

    house.send(_study(StudyDate=date, SeriesDate=date, InstanceCreationDate=date)[:1])

    with house.database.read() as session:
        (line,) = audit.search(session, since=began - 1, until=None, limit=10, event="instance received")
        instance = session.get_one(Instance, line.sop_instance_uid)
    assert began <= instance.received_at <= time()


@pytest.mark.parametrize(
    ("sop_class_uid", "modality"),
    [
        (BasicTextSRStorage, "SR"),
        (KeyObjectSelectionDocumentStorage, "KO"),
        (TwelveLeadECGWaveformStorage, "ECG"),
        (EncapsulatedPDFStorage, "DOC"),
    ],
)
def test_x_11_what_is_no_image_of_a_head_is_kept_and_left_with_a_reason(
    make_house: Callable[[], House], sop_class_uid: str, modality: str
) -> None:
    house, images = make_house(), _study()
    other = Dataset()
    other.SOPClassUID, other.SOPInstanceUID = sop_class_uid, generate_uid()
    other.StudyInstanceUID, other.SeriesInstanceUID = images[0].StudyInstanceUID, generate_uid()
    other.PatientID, other.PatientName = images[0].PatientID, images[0].PatientName
    other.Modality = modality

    house.send([*images, other])
    house.assemble()

    (job,) = house.jobs()
    (left,) = house.events("series not selected")
    assert job.series_instance_uid == images[0].SeriesInstanceUID
    assert left.series_instance_uid == other.SeriesInstanceUID
    assert left.details["reason"]
