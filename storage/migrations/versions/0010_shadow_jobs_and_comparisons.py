"""Jobs of shadow routes, and what they gave beside the live ones"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("is_shadow", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("jobs_in_shadow", "jobs", ["is_shadow", "id"])
    op.create_table(
        "comparisons",
        sa.Column("shadow_job_id", sa.Integer(), nullable=False),
        sa.Column("live_job_id", sa.Integer(), nullable=True),
        sa.Column("compared_at", sa.Float(precision=53), nullable=False),
        sa.Column("is_disagreement", sa.Boolean(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["live_job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["shadow_job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("shadow_job_id"),
    )
    for column in ("live_job_id", "compared_at", "is_disagreement"):
        op.create_index(f"ix_comparisons_{column}", "comparisons", [column])
