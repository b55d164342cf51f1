"""What model servers count of the rows that they answer, a row a minute: by a function alone."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# With its owner's rights, so that the role of model servers changes and deletes nothing itself. A minute is
# written once, so a write that comes twice counts once. There is a version only where its registration is on
# record, a minute is near to now, and the number of rows is limited: a server that was taken over fills no
# disk and rewrites no past. What monitoring judged is evidence of its own; older counts are deleted.
_TELL_COUNTED = """CREATE FUNCTION public.tell_counted(
    its_model text, its_version integer, its_bins text, its_process text, its_minute timestamptz,
    its_rows bigint, its_lost bigint, its_counts text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN
    IF NOT EXISTS (
        SELECT FROM public.ledger_events
        WHERE model = its_model AND version = its_version AND event = 'registered'
    ) THEN
        RAISE check_violation USING MESSAGE = 'no such version is on record';
    END IF;
    IF its_minute NOT BETWEEN
        clock_timestamp() - interval '2 hours' AND clock_timestamp() + interval '5 minutes'
    THEN
        RAISE check_violation USING MESSAGE = 'the minute is not near to now: is the clock right?';
    END IF;
    IF (
        SELECT count(*) FROM public.served_counts
        WHERE model = its_model AND version = its_version AND minute = its_minute
    ) >= 1000 THEN
        RAISE check_violation USING MESSAGE = 'too many processes count in this minute';
    END IF;
    INSERT INTO public.served_counts (model, version, minute, process, bins, row_count, lost, counts)
    VALUES (its_model, its_version, its_minute, its_process, its_bins, its_rows, its_lost, its_counts)
    ON CONFLICT DO NOTHING;
    DELETE FROM public.served_counts
    WHERE model = its_model AND version = its_version AND minute < clock_timestamp() - interval '100 days';
END$$"""


def upgrade() -> None:
    """Make the table, and the function that alone writes into it."""
    op.create_table(
        "served_counts",
        sa.Column("model", sa.Text, sa.CheckConstraint("length(model) < 300"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column(
            "minute",
            sa.DateTime(timezone=True),
            sa.CheckConstraint("minute = date_trunc('minute', minute, 'UTC')"),
            primary_key=True,
        ),
        sa.Column("process", sa.Text, sa.CheckConstraint("length(process) < 100"), primary_key=True),
        sa.Column("bins", sa.Text, sa.CheckConstraint("length(bins) = 64"), primary_key=True),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("lost", sa.BigInteger, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.CheckConstraint("least(row_count, lost) >= 0 AND greatest(row_count, lost) < 1000000000", "fits"),
        sa.CheckConstraint("counts IS JSON OBJECT AND length(counts) < 4000000", "its_counts"),
    )
    op.get_bind().exec_driver_sql(_TELL_COUNTED)
