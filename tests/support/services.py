"""Services that are not those of the environment."""

from __future__ import annotations

from podium.ledger.store import Ledger
from podium.names import Tag
from podium.registry.client import Labels, Registry
from podium.services import Services
from podium.settings import Settings


class Witness(Registry):
    """A registry in memory that can only be told of the ledger's newest events."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def labels(self, model: str) -> Labels:
        return Labels({}, {Tag.LEDGER_HEAD: self.told[model]} if model in self.told else {})

    def set_model_tag(self, model: str, tag: Tag, value: str) -> None:
        assert tag is Tag.LEDGER_HEAD
        self.told[model] = value


def services_with(ledger: Ledger | None = None, registry: Registry | None = None) -> Services:
    """Return services with a ledger or a registry of the test's own.

    The other ledger is nowhere; the other registry can only be told of the ledger's newest events.
    """
    settings = Settings(
        MLFLOW_TRACKING_URI="http://127.0.0.1:1", PODIUM_LEDGER_URL="postgresql+psycopg2://127.0.0.1:1/x"
    )
    return Services(settings, registry=registry or Witness(), ledger=ledger)
