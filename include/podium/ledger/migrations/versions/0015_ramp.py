"""What model servers count while the share of an approved version is raised."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COUNTS = ("requests", "rows", "new_failed", "old_failed", "both_failed", "timed", "slower")

# As in 0011; counts may belong to the first step of a ramp too. What was granted on it stays granted.
_TELL_WATCHED = f"""CREATE OR REPLACE FUNCTION public.tell_watched(
    its_model text, its_promotion bigint, its_process text, counts bigint[], its_problem text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN
    IF NOT EXISTS (
        SELECT FROM public.ledger_events
        WHERE seq = its_promotion AND model = its_model AND event IN ('promoted', 'ramp_step')
    ) THEN
        RAISE check_violation USING MESSAGE = 'no such promotion or step of a ramp is on record';
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
    """Let the function take them."""
    op.get_bind().exec_driver_sql(_TELL_WATCHED)
