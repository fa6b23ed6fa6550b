"""Which weights each job computes with, taken from the plans of those that are there"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

JOBS = sa.table("jobs", sa.column("id", sa.Integer), sa.column("plan", sa.JSON))


def upgrade() -> None:
    table = op.create_table(
        "job_weights",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("job_id", "name"),
    )
    plans = op.get_bind().execute(sa.select(JOBS.c.id, JOBS.c.plan)).all()
    used = [(job_id, plan["weights"]) for job_id, plan in plans if isinstance(plan.get("weights"), dict)]
    rows = [
        {"job_id": job_id, "name": name, "sha256": one}
        for job_id, named in used
        for name, one in named.items()
        if isinstance(one, str)
    ]
    op.bulk_insert(table, rows)
    op.create_index("jobs_by_weights", "job_weights", ["sha256", "job_id"])
    op.create_index("jobs_by_weights_name", "job_weights", ["name", "job_id"])
