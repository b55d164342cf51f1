"""MLflow of these tests, with the toy trained in it, and a model with a past."""

from __future__ import annotations

import pytest

from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle.registry_sync import mirror
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.services import Services
from support.steps import FIRST, SECOND, new_run, register
from support.trained import mlflow_uri

__all__ = ["mlflow_uri"]


@pytest.fixture
def spec(services: Services, toy_spec: ModelSpec) -> ModelSpec:
    """The toy with two champions: v1 that was, and v2 that is, as promoting them would leave it."""
    for as_of, former in ((FIRST, None), (SECOND, 1)):
        number = register(services, toy_spec, as_of, new_run())
        services.registry.set_alias(toy_spec.name, Alias.CHAMPION, number)
        services.ledger.append(NewEvent(EventKind.PROMOTED, toy_spec.name, number, former, actor="amy"))
    mirror(services, toy_spec.name)
    return toy_spec
