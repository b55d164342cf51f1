"""Each event holds the hash of the one before; numbers come from the application, without gaps."""

import hashlib
import json
from datetime import UTC

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Chain the events that there are, and let no further one be without."""
    op.execute("ALTER TABLE ledger_events ALTER COLUMN seq DROP IDENTITY")
    op.alter_column("ledger_events", "at", server_default=None)
    op.alter_column("ledger_events", "details", type_=sa.JSON, postgresql_using="details::json")
    op.add_column("ledger_events", sa.Column("previous_hash", sa.Text))
    op.add_column("ledger_events", sa.Column("hash", sa.Text))
    _chain(op.get_bind())
    for column in ("previous_hash", "hash"):
        op.alter_column("ledger_events", column, nullable=False)
        op.create_unique_constraint(f"ledger_events_{column}_key", "ledger_events", [column])


def _chain(connection: sa.Connection) -> None:
    previous = "0" * 64
    for row in connection.execute(sa.text("SELECT * FROM ledger_events ORDER BY seq")).mappings().all():
        content = {**row, "at": row["at"].astimezone(UTC).isoformat(), "previous_hash": previous}
        del content["hash"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        connection.execute(
            sa.text("UPDATE ledger_events SET previous_hash = :previous, hash = :digest WHERE seq = :seq"),
            {"previous": previous, "digest": digest, "seq": row["seq"]},
        )
        previous = digest
