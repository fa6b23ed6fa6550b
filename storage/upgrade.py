"""Bring the tables of a ledger to this version, by Alembic. Where there is nothing to do nobody imports this."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from storage.database import MIGRATIONS, SchemaMismatch


def upgrade(connection: Connection) -> None:
    """Make every step that is still to make, in the connection's transaction.

    Raises
    ------
    SchemaMismatch
        The ledger was written by a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the ledger's schema is {current}, this version knows {sorted(known)}: use the one that wrote it"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
