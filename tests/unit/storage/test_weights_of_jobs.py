"""All that was done with some weights is found again, by their name or digest, be it one job or most of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from storage import audit, jobs, weights
from storage.database import MIGRATIONS, Database

OLD, NEW = "0" * 64, "1" * 64
JOB = {
    "application": "virtual_biopsy",
    "version": "1",
    "route": "r",
    "destinations": "[]",
    "series_instance_uid": "1.2.3",
    "study_instance_uid": "1.2",
    "patient_id": "P1",
    "accession_number": "A1",
    "closed_by": "quiet",
    "state": "COMPLETED",
    "is_held": False,
    "priority": 0,
    "created_at": 1.0,
    "not_before": 0.0,
    "attempts": 1,
    "errors": 0,
    "crash_count": 0,
    "token": 1,
    "progress": 1.0,
}
"""A row of the tables of 0010."""
Schedule = Callable[..., int | None]


@pytest.fixture
def shelf(database: Database, schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Database]:
    """Import weights, put job 1 with others, 2 and 3 with these and 4 without any on the shelf; end each."""

    def fill(few: int) -> Database:
        monkeypatch.setattr(weights, "FEW", few)
        _tell(database, "weights imported", name="ours", sha256=NEW)
        _tell(database, "weights imported", name="another", sha256=OLD)
        for key, used in enumerate([{"ours": OLD}, {"ours": NEW, "localizer": OLD}, {"ours": NEW}, None]):
            schedule(key=f"k{key}", weights=used, now=200.0 + 10 * key)
            with database.write() as session:
                claimed = jobs.claim(session, "worker", lease_s=60, now=205.0 + 10 * key)
                assert claimed is not None
                jobs.finish(session, claimed[1], "COMPLETED", [], now=206.0 + 10 * key, outcome={})
        _tell(database, "weights removed", name="ours", sha256=NEW)
        return database

    return fill


def _tell(database: Database, event: str, **details: str) -> None:
    with database.write() as session:
        audit.record(session, event, now=1.0, actor="operator", user="anna", details=details)


def _search(database: Database, model: str, **terms: Any) -> Sequence[tuple[str, int | None]]:
    with database.read() as session:
        found = audit.search(session, **{"since": None, "until": None, "limit": 100} | terms, model=model)
    return [(line.event, line.job_id) for line in found]


@pytest.mark.parametrize("few", [0, 1000], ids=["trail read", "jobs looked up"])
@pytest.mark.parametrize(
    ("model", "of", "changes"),
    [(NEW, [2, 3], 2), ("ours", [1, 2, 3], 2), (OLD, [1, 2], 1), ("localizer", [2], 0), ("nobody's", [], 0)],
    ids=["digest", "name", "digest under two names", "a second of a job", "unknown"],
)
def test_the_trail_gives_the_lines_of_its_jobs_and_of_its_import_and_removal(
    shelf: Callable[[int], Database], few: int, model: str, of: list[int], changes: int
) -> None:
    found = _search(shelf(few), model)

    told = [(event, job) for job in of for event in ("job scheduled", "job claimed", "job completed")]
    assert [line for line in found if line[1]] == told
    assert [event for event, job in found if not job] == ["weights imported", "weights removed"][:changes]


@pytest.mark.parametrize("few", [0, 1000], ids=["trail read", "jobs looked up"])
def test_a_model_is_looked_for_together_with_the_other_words(shelf: Callable[[int], Database], few: int) -> None:
    database = shelf(few)
    whole = _search(database, NEW)

    assert _search(database, NEW, event="job claimed", patient_id="P1") == [("job claimed", 2), ("job claimed", 3)]
    assert _search(database, NEW, since=220.0, until=226.0) == [("job scheduled", 3), ("job claimed", 3)]
    assert _search(database, NEW, user="anna") == [("weights imported", None), ("weights removed", None)]
    assert _search(database, NEW, limit=2) == whole[:2]
    assert _search(database, NEW, peer="PACS") == []


def test_a_search_is_read_on_from_its_last_line(shelf: Callable[[int], Database]) -> None:
    database, after, pages = shelf(0), 0, []
    with database.read() as session:
        while found := audit.search(session, since=None, until=None, limit=3, after=after, model=NEW):
            after = found[-1].seq
            pages.append([(line.event, line.job_id) for line in found])

    assert [line for page in pages for line in page] == _search(database, NEW)
    assert [len(page) for page in pages] == [3, 3, 2]


def test_a_trail_of_which_lines_were_taken_out_is_still_searched(shelf: Callable[[int], Database]) -> None:
    database = shelf(0)
    with database.write() as session:
        session.execute(text("DELETE FROM events WHERE job_id = 2"))

    assert {job for _, job in _search(database, NEW)} == {None, 3}


def test_a_claim_says_in_the_trail_with_which_weights(shelf: Callable[[int], Database]) -> None:
    with shelf(1000).read() as session:
        claims = audit.search(session, since=None, until=None, limit=10, event="job claimed")

    used = [claim.details["weights"] for claim in claims]
    assert used == [{"ours": OLD}, {"ours": NEW, "localizer": OLD}, {"ours": NEW}, {}]


@pytest.mark.parametrize("said", ["resnet", ["a"], {"ours": 7}, None], ids=["text", "list", "number", "nothing"])
def test_a_plan_that_means_something_else_by_weights_is_scheduled(
    database: Database, schedule: Schedule, said: object
) -> None:
    schedule(weights=said)

    with database.read() as session:
        assert weights.of_job(jobs.get(session, 1)) == {}


def test_weights_of_jobs_from_before_are_found_after_the_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    plans = [{"weights": {"ours": NEW, "localizer": OLD}}, {"weights": {}}, {"a": 1}]
    columns = ("id", "key", "plan", *JOB)
    statement = f"INSERT INTO jobs ({', '.join(columns)}) VALUES (:{', :'.join(columns)})"
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        for number, plan in enumerate(plans):
            row = {"id": number + 1, "key": f"k{number}", "plan": json.dumps(plan)}
            connection.execute(text(statement), row | JOB)

    database = Database(url)
    database.upgrade()

    with database.read() as session:
        assert session.scalars(weights.jobs_of(NEW)).all() == session.scalars(weights.jobs_of("localizer")).all() == [1]
    database.close()
