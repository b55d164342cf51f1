"""Alembic's entry: runs the migrations on the ledger database that ``podium.ledger.store.migrate`` names.

Each migration is committed with its number: one that is stopped half-way is done again by the next start, and
those before it are not. What is told comes from a ledger that is older; a new one is filled in a moment.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import context

_LOCK = 4_215_337_001

tell: Callable[[str], None] = context.config.attributes["tell"]
engine = sa.create_engine(context.config.attributes["url"], poolclass=sa.pool.NullPool)


def _tell(*, step: Any, **_: Any) -> None:
    tell(f"the ledger is migrated to {step.up_revision_id}: {step.up_revision.doc}")


with engine.connect() as connection:
    # A migration that stands still must not hold its locks for ever.
    connection.execute(sa.text("SET idle_in_transaction_session_timeout = '60s'"))
    connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))
    # Whoever appends would wait in the queue behind one that waits for a table.
    connection.execute(sa.text("SET lock_timeout = '30s'"))
    connection.commit()
    is_new = not sa.inspect(connection).has_table("ledger_events")
    connection.commit()
    context.config.attributes["tell"] = tell = (lambda _: None) if is_new else tell
    context.configure(connection=connection, transaction_per_migration=True, on_version_apply=_tell)  # type: ignore[arg-type]  # called by names
    with context.begin_transaction():
        context.run_migrations()
