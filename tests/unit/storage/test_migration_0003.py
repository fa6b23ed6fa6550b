"""A ledger that has deliveries on it comes to the tables of 0003 with all of them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from storage.database import MIGRATIONS, Database

ROWS = """
INSERT INTO jobs (id, key, application, version, route, plan, destinations, series_instance_uid, study_instance_uid,
    patient_id, accession_number, closed_by, state, priority, created_at, not_before, attempts, errors, token, progress)
    VALUES (1, 'k', 'a', '1', 'r', '{}', '[]', '1.2', '1.3', 'P', 'A', 'quiet', 'COMPLETED', 0, 1, 0, 0, 0, 0, 1);
INSERT INTO results VALUES ('2.25.1', 1, 'SEG', 0, '1.2', '1.2.3', 'p', 's', 1);
INSERT INTO results VALUES ('2.25.2', 1, 'SR', 1, '1.2', '1.2.3', 'p', 's', 1);
INSERT INTO deliveries
    (id, sop_instance_uid, job_id, destination, after_id, state, created_at, due_at, attempts, refusals, token)
    VALUES (1, '2.25.1', 1, 'pacs', NULL, 'sent', 1, 1, 1, 0, 1), (2, '2.25.2', 1, 'pacs', 1, 'retry', 1, 1, 1, 0, 1)
"""


def test_deliveries_that_name_each_other_survive_the_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in ROWS.split(";"):
            connection.execute(text(statement))

    database = Database(url)
    database.upgrade()

    columns = "id, after_id, state, is_unsure, transaction_uid, commitment_requests"
    with database.read() as session:
        rows = session.execute(text(f"SELECT {columns} FROM deliveries ORDER BY id")).all()
    assert rows == [(1, None, "sent", 0, None, 0), (2, 1, "retry", 0, None, 0)]
