"""How many rows a candidate scored beside the champion: a model server counts them, and appends no event."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Whoever inserts sets the session: what the function finds must not depend on it.
_TAKE_COUNTS = """CREATE FUNCTION public.take_counts() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$BEGIN
    NEW.at := clock_timestamp();
    IF NEW.rows < 1 OR NEW.champion < 1 THEN
        RAISE check_violation USING MESSAGE = 'count refused: its rows or its champion are none';
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.ledger_events
        WHERE seq = NEW.nominated AND event = 'nominated' AND model = NEW.model AND version = NEW.candidate)
    THEN
        RAISE check_violation USING MESSAGE = 'count refused: its candidate was not nominated by that event';
    END IF;
    RETURN NEW;
END$$"""


def upgrade() -> None:
    """Make the table, and check each row."""
    op.create_table(
        "live_counts",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("nominated", sa.BigInteger, nullable=False),
        sa.Column("champion", sa.Integer, nullable=False),
        sa.Column("candidate", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
    )
    op.get_bind().exec_driver_sql(_TAKE_COUNTS)
    op.execute(
        "CREATE TRIGGER take_counts BEFORE INSERT ON live_counts "
        "FOR EACH ROW EXECUTE FUNCTION public.take_counts()"
    )
