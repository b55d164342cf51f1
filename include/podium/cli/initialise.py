"""``podium initialise``: what a stack needs once, and after each upgrade. Safe to repeat."""

from __future__ import annotations

from podium.cli.app import commands, log_to_stderr

initialise = commands(
    "initialise", "Create what a stack needs: once, and again after each upgrade. Safe to repeat."
)


@initialise.command()
def stores() -> None:
    """Create roles, databases and the bucket; migrate the ledger. Needs Postgres and the object store."""
    from podium.operations.initialise import make_stores

    log_to_stderr("podium")
    make_stores()


@initialise.command()
def registry() -> None:
    """Create MLflow's accounts, and a registered model for each model file. Needs MLflow as well."""
    from podium.operations.initialise import make_registry

    log_to_stderr("podium")
    make_registry()
