"""The registry and the ledger that a step works with, each reached when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from podium.ledger.store import Ledger
from podium.settings import Settings, load_settings

if TYPE_CHECKING:
    from podium.registry.client import Registry


class Services:
    """The model registry and the ledger, at the addresses of the settings.

    Args:
        settings: The addresses.
        registry: Another registry than theirs.
        ledger: Another ledger than theirs.
    """

    def __init__(
        self, settings: Settings, *, registry: Registry | None = None, ledger: Ledger | None = None
    ) -> None:
        self.settings = settings
        if registry is not None:
            self.registry = registry
        if ledger is not None:
            self.ledger = ledger

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        # Importing MLflow takes seconds, and many steps ask the ledger alone.
        from podium.registry.client import Registry

        return Registry(self.settings.mlflow_tracking_uri)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(self.settings.ledger_url.get_secret_value())


def connect() -> Services:
    """Return the services that the environment names.

    Raises:
        PodiumError: An address is not set.
    """
    return Services(load_settings())
