"""What model servers count in watch windows: by a function, so that they write into no table."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COUNTS = ("requests", "rows", "new_failed", "old_failed", "both_failed", "timed", "slower")

# With its owner's rights, so that the role of model servers changes and deletes nothing itself. Counts only
# grow, so a write that comes twice or late changes nothing. There is a window only where a promotion is on
# record, and the number of its rows is limited: a server that was taken over fills no disk.
_TELL_WATCHED = f"""CREATE FUNCTION public.tell_watched(
    its_model text, its_promotion bigint, its_process text, counts bigint[], its_problem text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN
    IF NOT EXISTS (
        SELECT FROM public.ledger_events
        WHERE seq = its_promotion AND model = its_model AND event = 'promoted'
    ) THEN
        RAISE check_violation USING MESSAGE = 'no such promotion is on record';
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.watch_counts
        WHERE model = its_model AND promotion = its_promotion AND process = its_process
    ) AND (
        SELECT count(*) FROM public.watch_counts WHERE model = its_model AND promotion = its_promotion
    ) >= 10000 THEN
        RAISE check_violation USING MESSAGE = 'too many processes count in this window';
    END IF;
    INSERT INTO public.watch_counts AS known (model, promotion, process, at, problem, {", ".join(_COUNTS)})
    VALUES (its_model, its_promotion, its_process, clock_timestamp(), left(its_problem, 500),
        {", ".join(f"counts[{place}]" for place, _ in enumerate(_COUNTS, 1))})
    ON CONFLICT (model, promotion, process) DO UPDATE
    SET at = EXCLUDED.at, problem = EXCLUDED.problem,
        {", ".join(f"{name} = greatest(known.{name}, EXCLUDED.{name})" for name in _COUNTS)};
END$$"""  # noqa: S608 - names of columns


def upgrade() -> None:
    """Make the table, and the function that alone writes into it."""
    op.create_table(
        "watch_counts",
        sa.Column("model", sa.Text, sa.CheckConstraint("length(model) < 300"), primary_key=True),
        sa.Column("promotion", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("process", sa.Text, sa.CheckConstraint("length(process) < 100"), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, sa.CheckConstraint(f"{name} >= 0"), nullable=False)
            for name in _COUNTS
        ),
        # Sums of ten thousand rows fit a number of JSON.
        sa.CheckConstraint("greatest(requests, rows) < 900000000000", "fits"),
        sa.CheckConstraint("new_failed + old_failed + both_failed <= requests", "outcomes"),
        sa.CheckConstraint("slower <= timed AND timed <= requests", "times"),
    )
    op.get_bind().exec_driver_sql(_TELL_WATCHED)
