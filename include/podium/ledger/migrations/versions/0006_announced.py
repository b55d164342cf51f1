"""How far each receiver was told of each model's events: rows are added, and the greatest number counts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TAKE_ANNOUNCED = """CREATE FUNCTION public.take_announced() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$BEGIN
    -- Else nobody would be told of anything any more.
    IF NEW.seq > (SELECT coalesce(max(seq), 0) FROM public.ledger_events) THEN
        RAISE check_violation USING MESSAGE = 'cursor refused: there is no such event yet';
    END IF;
    RETURN NEW;
END
$$"""


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "announced",
        sa.Column("receiver", sa.Text, nullable=False),
        # None: of all models, where the receiver began.
        sa.Column("model", sa.Text),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.UniqueConstraint("receiver", "model", "seq", postgresql_nulls_not_distinct=True),
    )
    op.get_bind().exec_driver_sql(_TAKE_ANNOUNCED)
    op.execute(
        "CREATE TRIGGER take_announced BEFORE INSERT ON announced "
        "FOR EACH ROW EXECUTE FUNCTION public.take_announced()"
    )
