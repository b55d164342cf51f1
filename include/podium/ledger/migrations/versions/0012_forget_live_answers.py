"""Old live answers and their labels are deleted by a function, by the application alone."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# With its owner's rights, so that the application deletes from no table itself. What is younger than a day
# stays, whatever is asked for. Rows that somebody else holds are left to a later call.
_FORGET = """CREATE FUNCTION public.forget_live_answers(its_model text, before timestamptz, most integer)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE gone integer;
BEGIN
    IF before > clock_timestamp() - interval '1 day' THEN
        RAISE check_violation USING MESSAGE = 'live answers of the last day stay';
    END IF;
    DELETE FROM public.live_answers WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.live_answers WHERE model = its_model AND at < before
        ORDER BY at LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END$$"""


def upgrade() -> None:
    """Make the function; who may call it is granted with the tables."""
    op.get_bind().exec_driver_sql(_FORGET)
    op.get_bind().exec_driver_sql(
        "REVOKE ALL ON FUNCTION public.forget_live_answers(text, timestamptz, integer) FROM PUBLIC"
    )
