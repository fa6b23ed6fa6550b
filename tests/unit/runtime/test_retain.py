"""What the janitor lets go, and what it never does."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from stations import House, series_of
from test_work import Copier

from storage import deliveries
from storage.disk import Disk
from storage.schema import Delivery, Instance
from vb_node.config import RetentionSettings, WorkSettings
from vb_node.runtime.retain import DAY_S, Janitor
from vb_node.runtime.work import Worker

LATER = 1e10


class Shop(House):
    """A house whose jobs are done at once and sent to one destination."""

    def __init__(self, root: Path) -> None:
        copier = {"copier": Copier()}
        routes = [{"name": "r", "application": "copier", "destinations": ["pacs"]}]
        super().__init__(root, copier, routes=routes, destinations=[{"name": "pacs", "ae_title": "PACS"}])
        self.results = root / "results"
        self.worker = Worker(self.database, self.spool, self.results, copier, WorkSettings(), "serial")

    def analyse(self) -> list[Dataset]:
        """Take a study, close it and end its job."""
        series = series_of(str(generate_uid()))
        self.send(series)
        assert self.assemble()
        assert self.worker.step(LATER)
        return series

    def settle(self, answer: deliveries.Answer, *, wants_commitment: bool = False) -> None:
        with self.database.write() as session:
            claimed = deliveries.claim(session, "pacs", lease_s=1, now=LATER)
            assert claimed is not None
            words = {"now": LATER, "patience_s": 0.0, "wants_commitment": wants_commitment}
            deliveries.settle(session, claimed[1], deliveries.Told(answer), **words)

    def janitor(self, warn_at: float = 1.0, committing: tuple[str, ...] = (), days: float | None = 30) -> Janitor:
        disk = Disk(self.spool.root, warn_at=warn_at)
        settings = RetentionSettings(days=days)
        return Janitor(self.database, self.spool, self.results, disk, settings, committing)

    def files(self) -> int:
        return len(list(self.spool)) + len(list(self.results.rglob("*.dcm")))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.database.close()


def _in_days(days: float) -> float:
    return time.time() + days * DAY_S


def test_a_delivered_study_goes_when_it_is_old_and_its_rows_stay(shop: Shop) -> None:
    series = shop.analyse()
    shop.settle("stored")

    early = shop.janitor().step(_in_days(29))
    files_before = shop.files()
    is_gone = shop.janitor().step(_in_days(31))

    assert (early, files_before, is_gone, shop.files()) == (False, len(series) + 1, True, 0)
    deleted = {event.sop_instance_uid for event in shop.events("instance deleted")}
    assert deleted == {str(dataset.SOPInstanceUID) for dataset in series}
    assert [event.details["why"] for event in shop.events("result deleted")] == ["older than 30 days"]
    with shop.database.read() as session:
        assert session.get_one(Instance, series[0].SOPInstanceUID).deleted_at is not None
    assert shop.janitor().step(_in_days(32)) is False


@pytest.mark.parametrize("answer", [None, "busy", "impossible"])
def test_what_is_not_delivered_never_goes(shop: Shop, answer: deliveries.Answer | None) -> None:
    shop.analyse()
    if answer is not None:
        shop.settle(answer)
    files = shop.files()

    is_gone = shop.janitor(warn_at=0.0001).step(_in_days(10_000))

    assert (is_gone, shop.files()) == (False, files)


def test_a_job_that_has_not_ended_keeps_its_study(shop: Shop) -> None:
    shop.send(series_of(str(generate_uid())))
    shop.assemble()

    assert shop.janitor().step(_in_days(10_000)) is False


def test_an_open_series_keeps_its_study(shop: Shop) -> None:
    shop.send(series_of(str(generate_uid())))

    assert shop.janitor().step(_in_days(10_000)) is False


def test_a_destination_that_commits_must_have_committed(shop: Shop) -> None:
    shop.analyse()
    shop.settle("stored", wants_commitment=True)
    janitor = shop.janitor(committing=("pacs",))

    early = janitor.step(_in_days(31))
    with shop.database.write() as session:
        session.get_one(Delivery, 1).state = "committed"

    assert early is False
    assert janitor.step(_in_days(31)) is True


def test_above_the_watermark_the_oldest_goes_first_however_young(shop: Shop) -> None:
    older, younger = shop.analyse(), shop.analyse()
    for _ in range(2):
        shop.settle("stored")
    janitor = shop.janitor(warn_at=0.0001)

    assert janitor.step(time.time() + 1) is True
    left = {path.name for path in shop.spool}
    assert janitor.step(time.time() + 1) is True

    assert len(left) == len(younger)
    deleted = [event.study_instance_uid for event in shop.events("result deleted")]
    assert deleted == [older[0].StudyInstanceUID, younger[0].StudyInstanceUID]
    assert "of the disk used" in shop.events("result deleted")[0].details["why"]


def test_the_watermark_does_not_take_what_was_never_sent_anywhere(shop: Shop, tmp_path: Path) -> None:
    shadow = House(tmp_path / "shadow", {"copier": Copier()}, routes=[{"name": "r", "application": "copier"}])
    shadow.send(series_of(str(generate_uid())))
    shadow.assemble()
    Worker(shadow.database, shadow.spool, tmp_path, {"copier": Copier()}, WorkSettings(), "s").step(LATER)
    disk = Disk(tmp_path, warn_at=0.0001)
    janitor = Janitor(shadow.database, shadow.spool, tmp_path, disk, RetentionSettings(days=30))

    is_gone = janitor.step(time.time() + 1)

    shadow.database.close()
    assert is_gone is False


def test_without_days_nothing_ever_goes(shop: Shop) -> None:
    shop.analyse()
    shop.settle("stored")

    assert shop.janitor(warn_at=0.0001, days=None).step(_in_days(10_000)) is False


def test_a_deleted_instance_that_comes_again_is_taken_again(shop: Shop) -> None:
    series = shop.analyse()
    shop.settle("stored")
    shop.janitor().step(_in_days(31))

    shop.send(series)

    assert len(list(shop.spool)) == len(series)
    assert len(shop.events("instance received")) == 2 * len(series)
    shop.assemble()
    assert len(shop.jobs()) == 1


def test_what_is_answered_while_the_janitor_works_is_there(shop: Shop) -> None:
    series = shop.analyse()
    shop.settle("stored")
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            shop.janitor().step(_in_days(31))

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    for _ in range(3):
        shop.send(series)
        shop.assemble()
    stop.set()
    cleaner.join()
    shop.send(series)

    with shop.database.read() as session:
        kept = [session.get_one(Instance, dataset.SOPInstanceUID) for dataset in series]
    assert [instance.deleted_at for instance in kept] == [None] * len(series)
    assert all(shop.spool.path_of(instance.sop_instance_uid, instance.sha256).is_file() for instance in kept)
