"""Indexes for the auditor's questions, the audit trail by time, and the first page"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_jobs_series_instance_uid", "jobs")
    op.create_index("jobs_by_series", "jobs", ["series_instance_uid", "state"])
    op.create_index("jobs_by_version", "jobs", ["version", "finished_at"])
    op.create_index("jobs_by_application", "jobs", ["application", "id"])
    for column in ("finished_at", "supersedes_id"):
        op.create_index(f"ix_jobs_{column}", "jobs", [column])
    for column in ("event", "peer"):
        op.drop_index(f"ix_events_{column}", "events")
        op.create_index(f"events_by_{column}", "events", [column, "seq", "at"])
