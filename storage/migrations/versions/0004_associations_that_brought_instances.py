"""Associations that brought instances, jobs that are held, files let go, the end of the trail"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "associations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("listener", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.Float(precision=53), nullable=False),
        sa.Column("ended_at", sa.Float(precision=53), nullable=True),
        sa.Column("is_released", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_associations_ended_at", "associations", ["ended_at"])
    op.add_column("instances", sa.Column("association_id", sa.String(length=32), nullable=True))
    op.add_column("jobs", sa.Column("is_held", sa.Boolean(), nullable=False, server_default=sa.false()))
    for table in ("instances", "results"):
        op.add_column(table, sa.Column("deleted_at", sa.Float(precision=53), nullable=True))
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO audit_head SELECT 1, digest FROM events ORDER BY seq DESC LIMIT 1")
