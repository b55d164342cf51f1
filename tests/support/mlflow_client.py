"""MLflow's own client, for what a test does behind Podium's back."""

from __future__ import annotations

from mlflow import MlflowClient

from podium.registry.client import Registry


def raw(registry: Registry) -> MlflowClient:
    """Return MLflow's client of a registry."""
    return MlflowClient(registry.tracking_uri)
