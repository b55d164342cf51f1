"""Champions that were adopted are moves too: they are found as fast as the others."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_MOVES = "event IN ('promoted', 'rolled_back', 'outside_move_accepted', 'champion_adopted')"


def upgrade() -> None:
    """Make the indexes of moves again, with the new kind among them."""
    connection = op.get_bind()
    for name, columns in (("moves_to", "model, seq"), ("moves_from", "model, from_version, seq")):
        connection.exec_driver_sql(f"DROP INDEX {name}")
        connection.exec_driver_sql(f"CREATE INDEX {name} ON ledger_events ({columns}) WHERE {_MOVES}")
