"""Where a model stands now is found by these, however long its history is."""

from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOVES = "event IN ('promoted', 'rolled_back', 'outside_move_accepted')"
_JUDGED = "event IN ('registered', 'gates_passed', 'gates_refused')"
_INDEXES = (
    "events_of_kind ON ledger_events (model, event, seq)",
    "events_of_version ON ledger_events (model, version, seq)",
    "events_of_run ON ledger_events (run, seq) WHERE run IS NOT NULL",
    "events_at ON ledger_events (at, seq)",
    f"moves_to ON ledger_events (model, seq) WHERE {_MOVES}",
    f"moves_from ON ledger_events (model, from_version, seq) WHERE {_MOVES}",
    # Not an index on the details' value: JSON may hold what Postgres cannot take out of it.
    *(
        f"""of_profile_{profile.replace("-", "_")} ON ledger_events (model, seq)
        WHERE {_JUDGED} AND strpos(canonical, '"profile":"{profile}"') > 0"""
        for profile in ("ci-smoke", "smoke")
    ),
)


def upgrade() -> None:
    """Make the indexes."""
    tell = context.config.attributes["tell"]
    for number, index in enumerate(_INDEXES, start=1):
        tell(f"index {number} of {len(_INDEXES)} of the ledger's events is made")
        op.get_bind().exec_driver_sql(f"CREATE INDEX {index}")
