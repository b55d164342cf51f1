"""Services that are not those of the environment."""

from __future__ import annotations

from podium.ledger.store import Ledger
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import Settings


def services_with(ledger: Ledger | None = None, registry: Registry | None = None) -> Services:
    """Return services with a ledger or a registry of the test's own; the other one is nowhere."""
    settings = Settings(
        MLFLOW_TRACKING_URI="http://127.0.0.1:1", PODIUM_LEDGER_URL="postgresql+psycopg2://127.0.0.1:1/x"
    )
    return Services(settings, registry=registry, ledger=ledger)
