"""The registry and the ledger that a step works with, each reached when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from podium.ledger.store import Ledger
from podium.settings import Settings, load_server_settings, load_settings

if TYPE_CHECKING:
    from podium.registry.client import Registry
    from podium.registry.labels import Labels


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

    def all_labels(self) -> dict[str, Labels]:
        """Return the aliases and tags of all registered models, if possible without importing MLflow.

        Raises:
            Outage: MLflow did not answer.
        """
        from podium.registry.labels import all_labels, login_of

        uri = self.settings.mlflow_tracking_uri
        login = None if "registry" in self.__dict__ else login_of(uri)
        return self.registry.all_labels() if login is None else all_labels(uri, login)

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


def connect_server() -> Services:
    """Return the services that the environment names for a model server, which appends no event.

    Raises:
        PodiumError: An address is not set.
    """
    return Services(load_server_settings())
