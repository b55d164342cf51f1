"""The parts that a step works with, reached when the step runs."""

from __future__ import annotations

from dataclasses import dataclass

from podium.ledger.store import Ledger, connect_ledger
from podium.registry.client import Registry
from podium.settings import Settings, load_settings


@dataclass(frozen=True)
class Services:
    """The model registry and the ledger, at the addresses of the settings."""

    settings: Settings
    registry: Registry
    ledger: Ledger


def connect() -> Services:
    """Reach the parts that the environment names.

    Raises:
        PodiumError: An address is not set.
    """
    settings = load_settings()
    return Services(
        settings=settings,
        registry=Registry(settings.mlflow_tracking_uri),
        ledger=connect_ledger(),
    )
