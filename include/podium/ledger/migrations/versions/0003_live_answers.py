"""What versions answered to live requests beside each other, and the labels that came later."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "live_answers",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("champion", sa.Integer, nullable=False),
        sa.Column("candidate", sa.Integer, nullable=False),
        sa.Column("champion_answers", sa.Text),
        sa.Column("candidate_answers", sa.Text),
        sa.CheckConstraint("champion_answers IS NOT NULL OR candidate_answers IS NOT NULL", name="answered"),
    )
    op.create_index("live_answers_model_at", "live_answers", ["model", "at"])
    op.create_table(
        "live_labels",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        # Whoever deletes old answers, as the owner, need not think of their labels.
        sa.ForeignKeyConstraint(
            ["model", "request_id"], ["live_answers.model", "live_answers.request_id"], ondelete="CASCADE"
        ),
    )
