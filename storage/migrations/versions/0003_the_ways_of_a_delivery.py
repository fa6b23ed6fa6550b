"""The ways of a delivery: unsure attempts, storage commitment, outages"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.Float(precision=53), nullable=False),
        sa.Column("reported_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("transaction_uid"),
    )
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_commitments_job_id"), ["job_id"], unique=False)

    op.create_table(
        "outages",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Float(precision=53), nullable=False),
        sa.Column("probe_at", sa.Float(precision=53), nullable=False),
        sa.Column("detail", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("destination"),
    )
    # one by one: a batch would make the table anew, which SQLite refuses as soon as a delivery names another
    for column in (
        sa.Column("is_unsure", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("sent_sop_class_uid", sa.String(length=64), nullable=True),
        sa.Column("sent_sop_instance_uid", sa.String(length=64), nullable=True),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("commitment_due_at", sa.Float(precision=53), nullable=True),
        sa.Column("commitment_requests", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("deliveries", column)
