"""Jobs of shadow routes and what they gave beside the live ones; drift of scores and of series descriptions"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
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
    op.create_table(
        "drifts",
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("score", sa.String(length=64), nullable=False),
        sa.Column("distance", sa.Float(precision=53), nullable=False),
        sa.Column("p_value", sa.Float(precision=53), nullable=False),
        sa.Column("recent", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("is_drift", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("route", "score"),
    )
    op.create_table(
        "descriptions",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=64), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=True),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Float(precision=53), nullable=False),
        sa.Column("last_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("peer", "description"),
    )
