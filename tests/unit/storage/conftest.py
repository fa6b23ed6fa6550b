"""An empty ledger, and shelves with something on them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from empty_ledger import empty_ledger
from postgres import Postgres

from storage import arrivals, jobs
from storage.arrivals import Arrived
from storage.database import Database
from storage.schema import Job


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give an empty ledger, once on each of the two (L-05)."""
    if request.param == "sqlite":
        database = empty_ledger(tmp_path / "ledger.db")
    else:
        database = Database(request.getfixturevalue("postgres").fresh())
    yield database
    database.close()


@pytest.fixture
def arrive(database: Database) -> Callable[..., bool]:
    """Put one instance on the shelf."""

    def put(
        uid: str = "1.2.3.1", sha256: str = "a" * 64, series: str = "1.2.3", study: str = "1.2", now: float = 100.0
    ) -> bool:
        arrived = Arrived(
            sop_instance_uid=uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            series_instance_uid=series,
            study_instance_uid=study,
            patient_id="P1",
            accession_number="A1",
            sha256=sha256,
            size_bytes=10,
            peer="PACS",
            received_at=now,
        )
        is_known = arrivals.is_known(database, arrived)
        with database.write() as session:
            assert arrivals.record(session, [arrived], actor="receive") == []
        return not is_known

    return put


@pytest.fixture
def schedule(database: Database, arrive: Callable[..., bool]) -> Callable[..., int | None]:
    """Put one job on the shelf and give its id."""
    arrive()

    def put(
        key: str = "k1",
        series: str = "1.2.3",
        priority: int = 0,
        now: float = 200.0,
        destinations: tuple[str, ...] = ("pacs",),
        is_shadow: bool = False,
        weights: object = None,
    ) -> int | None:
        job = Job(
            key=key,
            application="virtual_biopsy",
            version="1",
            route="r",
            plan={"a": 1} | ({"weights": weights} if weights else {}),
            destinations=list(destinations),
            series_instance_uid=series,
            study_instance_uid="1.2",
            patient_id="P1",
            accession_number="A1",
            closed_by="quiet for 60 s",
            priority=priority,
            is_shadow=is_shadow,
            created_at=now,
        )
        with database.write() as session:
            scheduled = jobs.schedule(session, job, [("1.2.3.1", "a" * 64)])
            return scheduled and scheduled.id

    return put
