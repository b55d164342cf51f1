"""What monitoring counted and judged: its digest is in the ledger's events, and no row is changed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; no row of it is anything else than its digest says."""
    op.create_table(
        "monitoring_evidence",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("model", sa.Text, sa.CheckConstraint("length(model) <= 250"), nullable=False),
        sa.Column("version", sa.Integer, sa.CheckConstraint("version > 0"), nullable=False),
        # Of a window; what windows are held against has none.
        sa.Column("starts", sa.DateTime(timezone=True)),
        sa.Column("ends", sa.DateTime(timezone=True)),
        sa.Column("content", sa.Text, sa.CheckConstraint("content IS JSON OBJECT"), nullable=False),
        sa.CheckConstraint("digest = encode(sha256(convert_to(content, 'UTF8')), 'hex')", "its_digest"),
    )
    op.create_index("evidence_of_windows", "monitoring_evidence", ["model", "version", "starts"])
