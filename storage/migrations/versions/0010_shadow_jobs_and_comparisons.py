"""Jobs of shadow routes"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("is_shadow", sa.Boolean(), nullable=False, server_default=sa.false()))
