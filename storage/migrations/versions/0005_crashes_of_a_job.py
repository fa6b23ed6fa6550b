"""How often the computation of a job died"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("crash_count", sa.Integer(), nullable=False, server_default="0"))
