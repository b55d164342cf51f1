"""What batch scoring counts of the rows that it scores, by partition and window: by a function alone."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_KEEP = (
    "keep_scored(text, integer, text, text, text, timestamptz, timestamptz, timestamptz, bigint, boolean, "
    "text)"
)
# With its owner's rights, so that the application changes and deletes nothing itself. The counts of a
# partition are replaced as a whole, in one statement. What is added of one window alone leaves the others, as
# long as the partition is the same. What monitoring judged is evidence of its own; older counts are deleted.
_KEEP_SCORED = """CREATE FUNCTION public.keep_scored(
    its_model text, its_version integer, its_basis text, its_partition text, its_identity text,
    its_counted_at timestamptz, its_first timestamptz, its_last timestamptz, its_undated bigint,
    is_whole boolean, its_windows text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN
    IF NOT EXISTS (
        SELECT FROM public.ledger_events
        WHERE model = its_model AND version = its_version AND event = 'registered'
    ) THEN
        RAISE check_violation USING MESSAGE = 'no such version is on record';
    END IF;
    INSERT INTO public.scored_partitions AS known (model, version, basis, partition, at, identity, counted_at,
        first_row, last_row, undated, whole)
    VALUES (its_model, its_version, its_basis, its_partition, clock_timestamp(), its_identity, its_counted_at,
        its_first, its_last, its_undated, is_whole)
    ON CONFLICT (model, version, basis, partition) DO UPDATE
    SET at = EXCLUDED.at, identity = EXCLUDED.identity, counted_at = EXCLUDED.counted_at,
        first_row = EXCLUDED.first_row, last_row = EXCLUDED.last_row, undated = EXCLUDED.undated,
        whole = EXCLUDED.whole
    WHERE is_whole OR known.identity <> EXCLUDED.identity;
    IF FOUND THEN
        DELETE FROM public.scored_counts
        WHERE model = its_model AND version = its_version AND basis = its_basis AND partition = its_partition;
    END IF;
    INSERT INTO public.scored_counts (model, version, basis, partition, starts, ends, content)
    SELECT its_model, its_version, its_basis, its_partition, (counted ->> 'starts')::timestamptz,
        (counted ->> 'ends')::timestamptz, (counted -> 'content')::text
    FROM json_array_elements(its_windows::json) AS counted
    ON CONFLICT (model, version, basis, partition, starts) DO UPDATE
    SET ends = EXCLUDED.ends, content = EXCLUDED.content;
    DELETE FROM public.scored_partitions
    WHERE model = its_model AND at < clock_timestamp() - interval '100 days';
END$$"""


def upgrade() -> None:
    """Make the tables, and the function that alone writes into them; who may call it is granted with them."""
    key = ("model", "version", "basis", "partition")
    op.create_table(
        "scored_partitions",
        sa.Column("model", sa.Text, sa.CheckConstraint("length(model) < 300"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("basis", sa.Text, sa.CheckConstraint("length(basis) = 64"), primary_key=True),
        sa.Column("partition", sa.Text, sa.CheckConstraint("length(partition) <= 1024"), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        # What is in the partition, as the source tells it; "" where it tells nothing.
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_row", sa.DateTime(timezone=True)),
        sa.Column("last_row", sa.DateTime(timezone=True)),
        sa.Column("undated", sa.BigInteger, sa.CheckConstraint("undated >= 0"), nullable=False),
        # All windows that may be judged are counted; else those alone that have a row below.
        sa.Column("whole", sa.Boolean, nullable=False),
    )
    op.create_table(
        "scored_counts",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("basis", sa.Text, primary_key=True),
        sa.Column("partition", sa.Text, primary_key=True),
        sa.Column("starts", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("ends", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text, sa.CheckConstraint("content IS JSON OBJECT"), nullable=False),
        sa.ForeignKeyConstraint(key, [f"scored_partitions.{name}" for name in key], ondelete="CASCADE"),
    )
    op.get_bind().exec_driver_sql(_KEEP_SCORED)
    op.get_bind().exec_driver_sql(f"REVOKE ALL ON FUNCTION public.{_KEEP} FROM PUBLIC")
