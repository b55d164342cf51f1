"""Alembic's entry: runs the migrations on the ledger database that ``podium.ledger.store.migrate`` names."""

import sqlalchemy as sa
from alembic import context

_LOCK = 4_215_337_001

engine = sa.create_engine(context.config.attributes["url"], poolclass=sa.pool.NullPool)
with engine.connect() as connection:
    # A migration that stands still must not hold its locks for ever.
    connection.execute(sa.text("SET idle_in_transaction_session_timeout = '60s'"))
    connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))
    # Whoever appends would wait in the queue behind one that waits for a table.
    connection.execute(sa.text("SET lock_timeout = '30s'"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
