"""People whom an OpenID provider names, by its issuer and their subject there; users that are disabled"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("issuer", sa.String(length=500), nullable=True))
    op.add_column("users", sa.Column("subject", sa.String(length=255), nullable=True))
    op.add_column("users", sa.Column("disabled_at", sa.Float(precision=53), nullable=True))
    op.create_index("users_by_subject", "users", ["issuer", "subject"], unique=True)
