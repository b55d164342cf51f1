"""What model servers serve now: each says it of itself, by a function, and writes into no table."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# With its owner's rights, so that the role of model servers changes and deletes nothing itself. Lengths and
# number of rows are limited, so that a server that was taken over stops nobody who reads. Rows of a day ago
# go at the next word of any server; those that another one is removing are left to it.
_TELL_SERVED = """CREATE FUNCTION public.tell_served(
    its_name text, its_process bigint, models text[], versions integer[], problems text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN
    DELETE FROM public.servers
    WHERE server = its_name AND process = its_process AND model <> ALL (models);
    DELETE FROM public.servers WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.servers WHERE at < clock_timestamp() - interval '1 day'
        FOR UPDATE SKIP LOCKED));
    IF (SELECT count(*) FROM public.servers) + cardinality(models) > 20000 THEN
        RAISE check_violation USING MESSAGE = 'too many servers say what they serve';
    END IF;
    INSERT INTO public.servers (server, process, model, version, problem, at)
    SELECT its_name, its_process, model, version, left(problem, 500), clock_timestamp()
    FROM unnest(models, versions, problems) AS told (model, version, problem)
    ON CONFLICT (server, process, model) DO UPDATE
    SET version = EXCLUDED.version, problem = EXCLUDED.problem, at = EXCLUDED.at;
END$$"""


def upgrade() -> None:
    """Make the table, and the function that alone writes into it."""
    op.create_table(
        "servers",
        sa.Column("server", sa.Text, sa.CheckConstraint("length(server) < 300"), primary_key=True),
        sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("model", sa.Text, sa.CheckConstraint("length(model) < 300"), primary_key=True),
        sa.Column("version", sa.Integer),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("servers_model", "servers", ["model"])
    op.get_bind().exec_driver_sql(_TELL_SERVED)
