"""The append-only record in Postgres: who decided what, when and why."""
