"""Run the migrations on the connection that ``Database.upgrade`` holds."""

from alembic import context

from storage.schema import Table

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Table.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
