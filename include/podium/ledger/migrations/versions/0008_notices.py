"""Which channel was told of what: rows are added, and none is changed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; its lengths are limited, so that no row of it stops who reads it."""
    op.create_table(
        "notices",
        # Not a sequence of its own, for which the application would need a privilege.
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("notice", sa.Text, sa.CheckConstraint("length(notice) < 1000"), nullable=False),
        sa.Column("channel", sa.Text, sa.CheckConstraint("length(channel) < 1000"), nullable=False),
        # Empty: it was told.
        sa.Column("error", sa.Text, sa.CheckConstraint("length(error) < 2000"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
    )
    op.create_index("notices_notice", "notices", ["notice", "channel"])
    op.create_index("notices_channel", "notices", ["channel", "number"])
